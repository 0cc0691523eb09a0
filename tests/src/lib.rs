//! Namespaces, real services and real clients for end-to-end tests.
