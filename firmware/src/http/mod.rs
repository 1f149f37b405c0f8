//! HTTP/1.1: request parser, responses and the connection state machine.
