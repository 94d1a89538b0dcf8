"""What the product says of itself: metrics, the dashboard and the alerts drawn from them, logs."""
