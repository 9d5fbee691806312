#![forbid(unsafe_code)]
pub mod cli;
pub mod clock;
pub mod demo;
pub mod engine;
pub mod intercept;
pub mod log;
pub mod mcp;
pub mod proxy;
pub mod tape;
pub mod transport;
pub mod tui;
