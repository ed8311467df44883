//! Tests of the whole product, in `tests/`: its architecture, its scenes and its programs end to end.
