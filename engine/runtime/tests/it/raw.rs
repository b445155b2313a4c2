//! A peer written by hand on a blocking socket: for all that no well-behaved engine does.

use crate::support::PATIENCE;
use punctual_link::Endpoint;
use punctual_runtime::{CloseReason, Limits, Op};
use punctual_wire::{
    BatchWriter, Features, Frame, FrameKind, FrameReader, Handshake, Hello, MAGIC, Participant,
    PeerMessage, PeerReader, Piece, Probe, ProbeReader, Reply, ReplyReader, ReplyStatus, Role,
    TxnSequence, VERSION, Welcome,
};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

/// Messages that share a frame.
const BATCH: u16 = 64;

/// One end of a connection.
pub(crate) struct Peer {
    stream: TcpStream,
    received: Vec<u8>,
    outgoing: BatchWriter,
    checksum: bool,
    /// The run of the shard that welcomed us.
    welcomed_by: u64,
    /// Messages of a shard to its peers that were not looked at yet.
    messages: VecDeque<PeerMessage>,
}

/// A reply, copied out of its frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) sequence: TxnSequence,
    pub(crate) status: ReplyStatus,
    pub(crate) commit: i64,
    pub(crate) numbers: Vec<Option<i64>>,
}

/// A good hello of a coordinator worker with four slots and no features.
pub(crate) fn hello(shard: u16, session: u64, cluster: u64) -> Hello {
    Hello {
        magic: MAGIC.into(),
        version: VERSION.into(),
        role: Role::Coordinator as u8,
        reserved: 0,
        shard: shard.into(),
        from: 0_u16.into(),
        session: session.into(),
        cluster: cluster.into(),
        features: 0_u64.into(),
        slots: 4_u32.into(),
    }
}

/// A good hello of another shard.
pub(crate) fn peer_hello(shard: u16, from: u16, session: u64, cluster: u64) -> Hello {
    let role = Role::Peer as u8;
    Hello { role, from: from.into(), slots: 0_u32.into(), ..hello(shard, session, cluster) }
}

/// A good hello of a prober.
pub(crate) fn prober_hello(shard: u16, session: u64, cluster: u64) -> Hello {
    let role = Role::Prober as u8;
    Hello { role, slots: 0_u32.into(), ..hello(shard, session, cluster) }
}

/// The bytes of a frame with one message.
pub(crate) fn frame(kind: FrameKind, message: &[u8], checksum: bool) -> Vec<u8> {
    let mut out = BatchWriter::new(Limits::DEFAULT, BATCH, checksum);
    out.message(kind, message.len(), |bytes| bytes.extend_from_slice(message));
    out.seal();
    out.sealed().to_vec()
}

impl Peer {
    /// A connection that was accepted or opened.
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout above zero");
        let outgoing = BatchWriter::new(Limits::DEFAULT, BATCH, false);
        let (received, messages) = (Vec::new(), VecDeque::new());
        Self { stream, received, outgoing, checksum: false, welcomed_by: 0, messages }
    }

    /// Connects without a word.
    pub(crate) fn connect(endpoint: &Endpoint) -> Self {
        let Endpoint::Tcp(address) = endpoint else { panic!("{endpoint} is no TCP address") };
        Self::new(TcpStream::connect(address).expect("somebody listens"))
    }

    /// Connects, is welcomed, and, as a shard, shows that it is there.
    pub(crate) fn welcomed(endpoint: &Endpoint, hello: &Hello) -> Self {
        let mut peer = Self::silent(endpoint, hello);
        if hello.role == Role::Peer as u8 {
            peer.tell(PeerMessage::Watermark { at: i64::MIN });
        }
        peer
    }

    /// Connects, is welcomed, and says no more.
    pub(crate) fn silent(endpoint: &Endpoint, hello: &Hello) -> Self {
        let mut peer = Self::connect(endpoint);
        peer.say_hello(hello);
        let welcome = peer.next_frame(Handshake::read_welcome);
        let welcome = welcome.expect("the link is open").expect("a welcome");
        peer.checksum = Features(welcome.features.get()).contains(Features::CHECKSUM);
        peer.outgoing.set_checksum(peer.checksum);
        peer.welcomed_by = welcome.session.get();
        peer
    }

    /// Whether frames carry checksums.
    pub(crate) fn checksum(&self) -> bool {
        self.checksum
    }

    /// What transactions are bound to at the shard that welcomed us.
    pub(crate) fn incarnation(&self) -> u32 {
        punctual_core::SessionId(self.welcomed_by).incarnation()
    }

    /// Sends a hello of our making.
    pub(crate) fn say_hello(&mut self, hello: &Hello) {
        Handshake::write_hello(&mut self.outgoing, hello);
        self.send();
    }

    /// Plays the shard: takes the hello of a worker and welcomes it in the name of a session.
    pub(crate) fn welcome(&mut self, session: u64) {
        let hello = self.next_frame(Handshake::read_hello);
        let (hello, _) = hello.expect("the link is open").expect("a hello");
        let welcome = Welcome {
            magic: MAGIC.into(),
            version: VERSION.into(),
            shard: hello.shard,
            epoch: 0_u32.into(),
            session: session.into(),
            features: 0_u64.into(),
            queues: 1_u16.into(),
            reserved: 0_u16.into(),
        };
        Handshake::write_welcome(&mut self.outgoing, &welcome);
        self.send();
    }

    fn send(&mut self) {
        self.outgoing.seal();
        self.stream.write_all(self.outgoing.sealed()).expect("the peer takes our bytes");
        self.outgoing.clear_sealed();
    }

    /// Sends any bytes, in one write.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the peer takes our bytes");
    }

    /// Says that no more will come; what the other side says can still be read.
    pub(crate) fn hang_up(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("the link is open");
    }

    /// Sends a transaction.
    pub(crate) fn dispatch(&mut self, sequence: TxnSequence, op: Op<'_>) {
        let mut body = Vec::new();
        op.write(&mut body);
        Piece::write(&mut self.outgoing, sequence, false, 1, &body);
        self.send();
    }

    /// Sends the piece of a transaction on several shards.
    pub(crate) fn dispatch_stamped(
        &mut self,
        sequence: TxnSequence,
        at: i64,
        participants: &[Participant],
        op: Op<'_>,
    ) {
        let mut body = Vec::new();
        op.write(&mut body);
        Piece::write_stamped(&mut self.outgoing, sequence, at, participants, false, 1, &body);
        self.send();
    }

    /// Sends a message of one shard to another.
    pub(crate) fn tell(&mut self, message: PeerMessage) {
        message.write(&mut self.outgoing);
        self.send();
    }

    /// Waits for what the shard has to say to us as its peer; how far it is does not count.
    pub(crate) fn told(&mut self) -> PeerMessage {
        loop {
            match self.messages.pop_front() {
                Some(PeerMessage::Watermark { .. }) => {}
                Some(message) => return message,
                None => {
                    let read = self.next_frame(read_peer_frame);
                    self.messages.extend(read.expect("the link is open"));
                }
            }
        }
    }

    /// Sends a probe and takes the answer.
    pub(crate) fn probe(&mut self, probe: &Probe) -> Probe {
        probe.write(&mut self.outgoing);
        self.send();
        let answer = self.next_frame(|frame| {
            assert_eq!((frame.kind, frame.count), (FrameKind::Probe, 1));
            ProbeReader::new(frame).next_probe().expect("a well-formed probe")
        });
        answer.expect("the link is open").expect("one probe")
    }

    /// Waits for the reply to the one transaction in flight.
    pub(crate) fn answer(&mut self) -> Answer {
        let answer = self.next_frame(|frame| {
            assert_eq!((frame.kind, frame.count), (FrameKind::Reply, 1));
            let reply: Reply<'_> = ReplyReader::new(frame)
                .next_reply()
                .expect("a well-formed reply")
                .expect("one reply");
            Answer {
                sequence: reply.sequence,
                status: reply.status,
                commit: reply.commit,
                numbers: reply.results.map(|result| result.number()).collect(),
            }
        });
        answer.expect("the link is open")
    }

    /// Reads up to the goodbye. `None` if the link ends without one.
    pub(crate) fn goodbye(&mut self) -> Option<CloseReason> {
        loop {
            let reason = self.next_frame(|frame| match frame.kind {
                FrameKind::Goodbye => Some(Handshake::read_goodbye(frame).expect("a known reason")),
                _ => None,
            })?;
            if reason.is_some() {
                return reason;
            }
        }
    }

    /// Whether the other side has closed the link; waits until it has, or says something.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.next_frame(|_| ()).is_none()
    }

    /// Reads the next frame, or `None` at the end of the link.
    pub(crate) fn next_frame<T>(&mut self, read: impl FnOnce(&Frame<'_>) -> T) -> Option<T> {
        let mut chunk = [0; 4096];
        loop {
            let mut reader = FrameReader::new(&self.received, Limits::DEFAULT, self.checksum);
            if let Some(frame) = reader.next_frame().expect("engines send good frames") {
                let value = read(&frame);
                let taken = reader.taken();
                self.received.drain(..taken);
                return Some(value);
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(bytes) => self.received.extend_from_slice(&chunk[..bytes]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing to read within {PATIENCE:?}: {error}"),
            }
        }
    }
}

fn read_peer_frame(frame: &Frame<'_>) -> Vec<PeerMessage> {
    assert_eq!(frame.kind, FrameKind::Peer);
    let mut reader = PeerReader::new(frame);
    std::iter::from_fn(|| reader.next_message().expect("well-formed messages")).collect()
}
