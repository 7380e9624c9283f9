"""The hand-over from learner to controller: two ONNX graphs and a manifest in a folder."""
