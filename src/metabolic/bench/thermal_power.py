def power_model(data):
    return {}, [], []
