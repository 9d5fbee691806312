//! Our own standard streams, when they carry the protocol.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Weak};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{dup2_stdin, dup2_stdout};

/// A descriptor that is read and written blocking, even where someone who shares it has made it
/// non-blocking.
#[derive(Debug)]
pub struct Blocking(Arc<File>);

/// Looks at a stream without keeping it open: a peer must see its end when its owner drops it.
#[derive(Debug, Clone)]
pub struct Watch(Weak<File>);

/// Takes over standard input and output: what they were connected to is ours alone, and the
/// descriptors 0 and 1 lead nowhere from now on, so that no stray print can reach the protocol
/// and closing ours is an end of file to the peer.
///
/// # Errors
/// When the process has no standard streams or `/dev/null` is missing.
pub fn claim_standard_streams() -> io::Result<(Blocking, Blocking)> {
    let input = io::stdin().as_fd().try_clone_to_owned()?;
    let output = io::stdout().as_fd().try_clone_to_owned()?;
    let nowhere = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&nowhere)?;
    dup2_stdout(&nowhere)?;
    Ok((Blocking::new(input), Blocking::new(output)))
}

/// Our standard error, which stays where it is.
///
/// # Errors
/// When the process has none.
pub fn stderr() -> io::Result<Blocking> {
    Ok(Blocking::new(io::stderr().as_fd().try_clone_to_owned()?))
}

impl Blocking {
    pub fn new(descriptor: impl Into<OwnedFd>) -> Self {
        Self(Arc::new(File::from(descriptor.into())))
    }

    /// The descriptor itself, for those who wait for it in another way.
    ///
    /// # Errors
    /// When it cannot be taken out, which needs a second one for a moment.
    pub fn into_descriptor(self) -> io::Result<OwnedFd> {
        match Arc::try_unwrap(self.0) {
            Ok(file) => Ok(file.into()),
            Err(shared) => shared.as_fd().try_clone_to_owned(),
        }
    }

    /// Reads, unless the other end of `wake` is closed first: then `None`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read_unless(&mut self, wake: &impl AsFd, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            let mut descriptors = [
                PollFd::new(self.0.as_fd(), PollFlags::POLLIN),
                PollFd::new(wake.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut descriptors, PollTimeout::NONE) {
                Ok(_) => {}
                Err(nix::errno::Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let seen = |at: usize| descriptors[at].revents().is_some_and(|events| !events.is_empty());
            match (seen(0), seen(1)) {
                (true, _) => return self.read(buffer).map(Some),
                (false, true) => return Ok(None),
                (false, false) => {}
            }
        }
    }

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

impl Watch {
    /// Whether nobody reads what is written to this pipe or socket: its reading end is closed. What
    /// was closed on this side has not hung up.
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
