"""The catalog: what anybody may know of the network, over HTTP. It claims nothing that the router would not grant."""
