//! Links over stream sockets: TCP between machines, Unix-domain sockets on one.
//!
//! The sockets are non-blocking and polled by their agent. Reads and writes may be partial; what is
//! left is kept and goes on where it stopped.

use crate::ring::frame_bytes;
use crate::{Link, LinkError, ParkHandle};
use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use punctual_wire::{BatchWriter, Limits};
use rustix::net::sockopt;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A peer whose machine says nothing for so long is asked whether it is there,
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
/// and again after each of these,
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// so many times before the link is given up.
const KEEPALIVE_PROBES: u32 = 3;
/// A link on which sent bytes stay unacknowledged for so long is given up, in milliseconds: the
/// kernel alone would take a quarter of an hour.
const USER_TIMEOUT_MS: u32 = 30_000;
/// Bytes taken in one read: enough to keep the number of system calls low, little enough to stay in
/// a core's second-level cache.
const READ_BYTES_MAX: usize = 256 << 10;

/// Sends small writes at once, and notices a peer whose machine is gone.
fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(socket, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(socket, KEEPALIVE_PROBES)?;
    sockopt::set_tcp_user_timeout(socket, USER_TIMEOUT_MS)?;
    Ok(())
}

/// Where a listener is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// An IP address and port.
    Tcp(SocketAddr),
    /// The path of a Unix-domain socket.
    Unix(PathBuf),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(buffer),
            Self::Unix(socket) => socket.read(buffer),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write(bytes),
            Self::Unix(socket) => socket.write(bytes),
        }
    }
}

/// A link over a stream socket.
#[derive(Debug)]
pub struct StreamLink {
    socket: Socket,
    peer: String,
    outgoing: BatchWriter,
    /// Bytes at the front of the outgoing buffer that the socket has taken already.
    written: usize,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl StreamLink {
    fn new(socket: Socket, peer: String, limits: Limits, batch_max: u16) -> Self {
        Self {
            socket,
            peer,
            outgoing: BatchWriter::new(limits, batch_max, false),
            written: 0,
            buffer: vec![0; limits.frame_bytes_max as usize + READ_BYTES_MAX],
            start: 0,
            end: 0,
        }
    }

    /// Begins to connect. Whether it succeeds shows in the first `flush` or `poll` that does not
    /// wait.
    ///
    /// # Errors
    /// When the operating system refuses at once.
    pub fn connect(endpoint: &Endpoint, limits: Limits, batch_max: u16) -> io::Result<Self> {
        let socket = match endpoint {
            Endpoint::Tcp(address) => {
                let socket = TcpStream::connect(*address)?;
                prepare(&socket)?;
                Socket::Tcp(socket)
            }
            Endpoint::Unix(path) => Socket::Unix(UnixStream::connect(path)?),
        };
        Ok(Self::new(socket, endpoint.to_string(), limits, batch_max))
    }

    /// Moves the unread rest to the front when the room behind it gets short.
    fn make_room(&mut self) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start > 0
            && self.buffer.len() - self.end < READ_BYTES_MAX.min(self.buffer.len() / 2)
        {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
    }

    /// Writes as far as the socket takes it. With batching off each frame is a write of its own.
    fn write_out(&mut self) -> io::Result<usize> {
        let each = self.outgoing.batch_max() == 1;
        let mut total = 0;
        loop {
            let rest = &self.outgoing.sealed()[self.written..];
            if rest.is_empty() {
                break;
            }
            let chunk = if each { &rest[..frame_bytes(rest)] } else { rest };
            match self.socket.write(chunk) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => {
                    self.written += bytes;
                    total += bytes;
                    if bytes < chunk.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(total)
    }
}

/// How a socket says that the peer has gone without a word.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
    )
}

fn link_error(error: io::Error) -> LinkError {
    if is_gone(&error) { LinkError::Closed } else { LinkError::Io(error) }
}

impl Link for StreamLink {
    fn outgoing(&mut self) -> &mut BatchWriter {
        &mut self.outgoing
    }

    fn flush(&mut self) -> Result<usize, LinkError> {
        if self.outgoing.is_empty() {
            return Ok(0);
        }
        self.outgoing.seal();
        let bytes = self.write_out().map_err(link_error)?;
        if self.written == self.outgoing.len() {
            self.outgoing.clear_sealed();
            self.written = 0;
        } else if self.written >= crate::OUTGOING_BYTES_MAX {
            // A slow peer must not make the buffer grow for ever: drop what it has taken.
            self.outgoing.drop_front(self.written);
            self.written = 0;
        }
        Ok(bytes)
    }

    fn pending(&self) -> usize {
        self.outgoing.len() - self.written
    }

    fn poll(&mut self) -> Result<usize, LinkError> {
        self.make_room();
        let end = self.buffer.len().min(self.end + READ_BYTES_MAX);
        if end == self.end {
            return Ok(0);
        }
        loop {
            match self.socket.read(&mut self.buffer[self.end..end]) {
                Ok(0) => return Err(LinkError::Closed),
                Ok(bytes) => {
                    self.end += bytes;
                    return Ok(bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(link_error(error)),
            }
        }
    }

    fn parts(&mut self) -> (&[u8], &mut BatchWriter) {
        (&self.buffer[self.start..self.end], &mut self.outgoing)
    }

    fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        debug_assert!(self.start <= self.end, "no more than was received");
    }

    fn register(&mut self, handle: &ParkHandle) -> Result<(), LinkError> {
        match &mut self.socket {
            Socket::Tcp(socket) => handle.register(socket)?,
            Socket::Unix(socket) => handle.register(socket)?,
        }
        Ok(())
    }

    fn unregister(&mut self, handle: &ParkHandle) -> Result<(), LinkError> {
        match &mut self.socket {
            Socket::Tcp(socket) => handle.deregister(socket)?,
            Socket::Unix(socket) => handle.deregister(socket)?,
        }
        Ok(())
    }

    fn peer(&self) -> String {
        self.peer.clone()
    }
}

#[derive(Debug)]
enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// Accepts links.
#[derive(Debug)]
pub struct Listener {
    socket: Acceptor,
    limits: Limits,
    batch_max: u16,
}

impl Listener {
    /// Listens at an endpoint. Port 0 lets the system choose. A socket file whose process is gone
    /// is replaced; one that somebody still answers at is not.
    ///
    /// # Errors
    /// When the endpoint is taken or not allowed.
    pub fn bind(endpoint: &Endpoint, limits: Limits, batch_max: u16) -> io::Result<Self> {
        let socket = match endpoint {
            Endpoint::Tcp(address) => Acceptor::Tcp(TcpListener::bind(*address)?),
            Endpoint::Unix(path) => {
                let taken = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
                let listener = match UnixListener::bind(path) {
                    Err(error) if taken(&error) && is_abandoned(path) => {
                        std::fs::remove_file(path)?;
                        UnixListener::bind(path)
                    }
                    outcome => outcome,
                }?;
                Acceptor::Unix(listener, path.clone())
            }
        };
        Ok(Self { socket, limits, batch_max })
    }

    /// The next link that waits, or `None`.
    ///
    /// # Errors
    /// When the operating system refuses, for instance for want of file descriptors.
    pub fn accept(&mut self) -> io::Result<Option<StreamLink>> {
        let (socket, peer) = match &self.socket {
            Acceptor::Tcp(listener) => match listener.accept() {
                Ok((socket, address)) => {
                    prepare(&socket)?;
                    (Socket::Tcp(socket), address.to_string())
                }
                Err(error) => return none_if_would_block(error),
            },
            Acceptor::Unix(listener, path) => match listener.accept() {
                Ok((socket, _)) => (Socket::Unix(socket), format!("unix:{}", path.display())),
                Err(error) => return none_if_would_block(error),
            },
        };
        Ok(Some(StreamLink::new(socket, peer, self.limits, self.batch_max)))
    }

    /// Where it listens, with the port that the system chose.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn endpoint(&self) -> io::Result<Endpoint> {
        match &self.socket {
            Acceptor::Tcp(listener) => listener.local_addr().map(Endpoint::Tcp),
            Acceptor::Unix(_, path) => Ok(Endpoint::Unix(path.clone())),
        }
    }

    /// Lets a parker wake up when somebody connects.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn register(&mut self, handle: &ParkHandle) -> io::Result<()> {
        match &mut self.socket {
            Acceptor::Tcp(listener) => handle.register_readable(listener),
            Acceptor::Unix(listener, _) => handle.register_readable(listener),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Acceptor::Unix(_, path) = &self.socket {
            // Gone already is as good.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Whether this is a socket file at which nobody listens any more. Any other file refuses a
/// connection as well, and must not be taken for one.
fn is_abandoned(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
        && std::os::unix::net::UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

fn none_if_would_block(error: io::Error) -> io::Result<Option<StreamLink>> {
    match error.kind() {
        io::ErrorKind::WouldBlock
        | io::ErrorKind::Interrupted
        | io::ErrorKind::ConnectionAborted => Ok(None),
        _ => Err(error),
    }
}
