local spec = {action = "Retry"}
