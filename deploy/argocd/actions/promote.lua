local spec = {action = "Promote"}
