"""One package per server or vendor; each turns vendor errors into ours."""
