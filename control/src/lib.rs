//! Who decides: policy, compile, control socket, metrics, command line.
