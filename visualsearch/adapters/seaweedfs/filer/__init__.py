"""SeaweedFS' filer as far as we speak with it: `filer.proto` and what protoc makes of it."""
