"""What TensorBoard shows besides numbers."""
