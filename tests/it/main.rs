//! Integration tests of the library and the binary. A single test binary keeps linking cheap.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod attacks;
mod batches;
mod bridge;
mod client_config;
mod control_socket;
mod demo_screen;
mod doctor;
mod forward_faults;
mod forward_stdio;
mod gateway;
mod gateway_edges;
mod gateway_faults;
mod guide;
mod hold_order;
mod house;
mod http_proxy;
mod http_upstream;
mod http_verdicts;
mod interception;
mod leftover_files;
mod login_faults;
mod mcp_agent;
mod odd_json;
mod parser_properties;
mod places;
mod plays;
mod pty_terminal;
mod raw_http;
mod screens;
mod server_ends;
mod server_restart;
mod sse_properties;
mod support;
mod tape_care;
mod tape_export;
mod tape_format;
mod tape_library;
mod tape_properties;
mod tape_replay;
mod tui_attach;
mod unfinished_lines;
