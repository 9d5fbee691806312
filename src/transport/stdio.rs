//! The standard streams of this process, for when they carry the protocol.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::source::Source;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{dup2_stdin, dup2_stdout};

/// A file descriptor whose reads and writes block, even if a process that shares the open file has
/// made it non-blocking.
#[derive(Debug)]
pub struct Blocking(Arc<File>);

/// A check for hang-up that does not keep its stream open: a peer must see the end when the owner
/// drops the stream.
#[derive(Debug, Clone)]
pub struct Watch(Weak<File>);

/// Takes over standard input and output, and returns them. File descriptors 0 and 1 lead to
/// `/dev/null` from then on, so that no stray print reaches the protocol, and dropping the returned
/// streams is an end of file to the peer.
///
/// # Errors
/// Fails if the process has no standard streams or `/dev/null` cannot be opened.
pub fn claim_standard_streams() -> io::Result<(Blocking, Blocking)> {
    let input = io::stdin().as_fd().try_clone_to_owned()?;
    let output = io::stdout().as_fd().try_clone_to_owned()?;
    let nowhere = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&nowhere)?;
    dup2_stdout(&nowhere)?;
    Ok((Blocking::new(input), Blocking::new(output)))
}

/// Returns a duplicate of standard error, which stays in place.
///
/// # Errors
/// Fails if the process has no standard error.
pub fn stderr() -> io::Result<Blocking> {
    Ok(Blocking::new(io::stderr().as_fd().try_clone_to_owned()?))
}

impl Blocking {
    /// Wraps a file descriptor.
    pub fn new(descriptor: impl Into<OwnedFd>) -> Self {
        Self(Arc::new(File::from(descriptor.into())))
    }

    /// Returns the file descriptor, for callers that wait for it in another way. If a [`Watch`] is using
    /// it at the moment, returns a duplicate.
    ///
    /// # Errors
    /// Fails if the duplicate cannot be made.
    pub fn into_descriptor(self) -> io::Result<OwnedFd> {
        match Arc::try_unwrap(self.0) {
            Ok(file) => Ok(file.into()),
            Err(shared) => shared.as_fd().try_clone_to_owned(),
        }
    }

    /// Waits until the stream is readable and reads from it, unless the other end of `wake` is closed or
    /// `patience` is over first.
    ///
    /// # Errors
    /// Fails if polling or reading fails.
    pub fn read_unless(
        &mut self,
        wake: &impl AsFd,
        buffer: &mut [u8],
        patience: Option<Duration>,
    ) -> io::Result<Woken> {
        loop {
            let mut descriptors = [
                PollFd::new(self.0.as_fd(), PollFlags::POLLIN),
                PollFd::new(wake.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut descriptors, timeout(patience)) {
                Ok(0) => return Ok(Woken::Late),
                Ok(_) => {}
                Err(nix::errno::Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let seen = |at: usize| descriptors[at].revents().is_some_and(|events| !events.is_empty());
            match (seen(0), seen(1)) {
                (true, _) => return self.read(buffer).map(Woken::Read),
                (false, true) => return Ok(Woken::Closed),
                (false, false) => {}
            }
        }
    }

    /// Returns a check for hang-up of this stream.
    pub fn watch(&self) -> Watch {
        Watch(Arc::downgrade(&self.0))
    }

    fn wait(&self, events: PollFlags) -> io::Result<()> {
        match poll(&mut [PollFd::new(self.0.as_fd(), events)], PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The reason why [`Blocking::read_unless`] returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// This many bytes were read; none at the end of the stream.
    Read(usize),
    /// The other end of the waking pipe was closed.
    Closed,
    /// Nothing could be read in time.
    Late,
}

fn timeout(patience: Option<Duration>) -> PollTimeout {
    let millis = patience.map(|patience| u16::try_from(patience.as_millis()).unwrap_or(u16::MAX));
    millis.map_or(PollTimeout::NONE, PollTimeout::from)
}

impl Source for Blocking {
    fn read_within(&mut self, buffer: &mut [u8], patience: Option<Duration>) -> io::Result<Option<usize>> {
        if patience.is_some() {
            let mut descriptors = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
            match poll(&mut descriptors, timeout(patience)) {
                // A signal interrupted the wait: the caller looks again, and waits again.
                Ok(0) | Err(nix::errno::Errno::EINTR) => return Ok(None),
                // Reading tells the error.
                Ok(_) | Err(_) => {}
            }
        }
        self.read(buffer).map(Some)
    }
}

impl Watch {
    /// Returns `true` if the peer has closed the reading end of this pipe or socket. A stream that was
    /// dropped on this side does not count as hung up.
    pub fn is_hung_up(&self) -> bool {
        let Some(file) = self.0.upgrade() else { return false };
        let mut descriptors = [PollFd::new(file.as_fd(), PollFlags::empty())];
        let ready = poll(&mut descriptors, PollTimeout::ZERO);
        let gone = PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL;
        ready.is_ok() && descriptors[0].revents().is_some_and(|events| events.intersects(gone))
    }
}

impl Read for Blocking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match (&*self.0).read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(PollFlags::POLLIN)?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

impl Write for Blocking {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match (&*self.0).write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(PollFlags::POLLOUT)?,
                other => return other,
            }
        }
    }

    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        loop {
            match (&*self.0).write_vectored(slices) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(PollFlags::POLLOUT)?,
                other => return other,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
