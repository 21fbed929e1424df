"""SeaweedFS' change feed."""
