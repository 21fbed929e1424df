"""The part of SeaweedFS' filer API that this project uses: `filer.proto` and the code that protoc generates."""
