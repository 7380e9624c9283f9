"""The hand-over from learner to controller: ONNX graphs and a manifest in a folder."""
