//! Rule-set and traffic generators, and the benches that use them.
