local spec = {action = "Rollback"}
