"""The router's side: a live view of who may serve paid calls, and the one rule by which a call is allowed or refused."""
