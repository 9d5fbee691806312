//! Behaviour through the public interface and the binary. One test binary, so that linking stays
//! cheap.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod agent;
mod bytes;
mod care;
mod clients;
mod control;
mod doctor;
mod events;
mod export;
mod faults;
mod formats;
mod forward;
mod holds;
mod home;
mod house;
mod http;
mod library;
mod pty;
mod readme;
mod restart;
mod reverse;
mod reverse_trouble;
mod screens;
mod standin;
mod support;
mod tapes;
mod terminal;
mod tls;
mod wire;
