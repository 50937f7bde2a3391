local spec = {action = "Pause"}
