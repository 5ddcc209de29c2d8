"""The ONNX helper of AI-SPRINT's package, over onnxruntime, which the component's requirements must bring."""


def load_and_inference(onnx_file, input_dict):
    """Run the model on {input name: array}; return (dictionary of all inputs and outputs, list of outputs)."""
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx_file, providers=onnxruntime.get_available_providers())
    wanted = {item.name for item in session.get_inputs()}
    outputs = session.run(None, {name: value for name, value in input_dict.items() if name in wanted})
    return {**input_dict, **dict(zip([item.name for item in session.get_outputs()], outputs))}, outputs
