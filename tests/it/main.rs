//! Behaviour through the public interface and the binary. One test binary, so that linking stays
//! cheap.

mod bytes;
mod faults;
mod forward;
mod holds;
mod house;
mod pty;
mod screens;
mod support;
mod tapes;
