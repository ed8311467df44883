//! The glTF reader from outside: files made here, worlds compared with values worked out by hand.

mod animated;
mod bits;
mod builder;
mod damaged;
mod looks;
mod shapes;
mod views;
