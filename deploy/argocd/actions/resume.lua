local spec = {action = "Resume"}
