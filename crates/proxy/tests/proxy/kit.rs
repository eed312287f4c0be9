//! A front door on port 0, runners that do what a test says, and raw clients.

use futures_util::StreamExt;
use jiff::Timestamp;
use myagent_core::routing::{RoutedInstance, RoutedService, RoutingSnapshot};
use myagent_core::wire::handover::{Down, Offer, Refusal, Up, decode, encode};
use myagent_core::{Clock, InstanceKey, ServiceId, StartId};
use myagent_handover::{Channel, Listener};
use myagent_proxy::{Known, ListenerId, Proxy, ProxyConfig, ProxyEvent};
use serde_json::Value;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

pub(crate) struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

/// Far longer than anything here takes; a test that hangs says where.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(value) = tokio::time::timeout(Duration::from_secs(20), future).await else {
        panic!("{what} did not happen")
    };
    value
}

/// Polls until it is so.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let polled = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(what, polled).await;
}

pub(crate) fn one_thread() -> ProxyConfig {
    ProxyConfig { threads: 1, queue_timeout: Duration::from_secs(10), ..ProxyConfig::default() }
}

pub(crate) struct Door {
    pub(crate) proxy: Proxy,
    pub(crate) address: SocketAddr,
    pub(crate) listener: ListenerId,
    pub(crate) snapshot: watch::Sender<Arc<RoutingSnapshot>>,
    pub(crate) events: mpsc::Receiver<ProxyEvent>,
}

impl Door {
    pub(crate) async fn open(config: ProxyConfig, snapshot: RoutingSnapshot) -> Self {
        Self::open_knowing(config, snapshot, Known::default()).await
    }

    pub(crate) async fn open_knowing(config: ProxyConfig, snapshot: RoutingSnapshot, known: Known) -> Self {
        let (snapshot, receiver) = watch::channel(Arc::new(snapshot));
        let (sender, events) = mpsc::channel(10_000);
        let proxy =
            Proxy::start(config, receiver, known, sender, Uuid::new_v4, Arc::new(FixedClock)).unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let listener = proxy.open(socket).await.unwrap();
        Self { proxy, address, listener, snapshot, events }
    }

    pub(crate) fn publish(&self, snapshot: RoutingSnapshot) {
        self.snapshot.send_replace(Arc::new(snapshot));
    }

    /// A client that has sent a WebSocket request for this target.
    pub(crate) async fn client(&self, target: &str) -> TcpStream {
        self.raw(upgrade(target).as_bytes()).await
    }

    pub(crate) async fn raw(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    /// The whole answer to a request.
    pub(crate) async fn answer(&self, request: &str) -> String {
        let mut stream = self.raw(request.as_bytes()).await;
        let mut text = String::new();
        within("an answer", stream.read_to_string(&mut text)).await.unwrap();
        text
    }

    /// Connects with a WebSocket library and returns the event and the close frame that it gets.
    pub(crate) async fn refusal(&self, target: &str) -> (Value, u16, String) {
        let uri = format!("ws://{}{target}", self.address);
        let builder = tokio_websockets::ClientBuilder::new().uri(&uri).unwrap();
        let (mut socket, response) = within("a handshake", builder.connect()).await.unwrap();
        assert_eq!(response.status(), 101);
        let event = within("an event", socket.next()).await.unwrap().unwrap();
        let close = within("a close", socket.next()).await.unwrap().unwrap();
        let (code, reason) = close.as_close().expect("a close frame");
        (serde_json::from_str(event.as_text().unwrap()).unwrap(), code.into(), reason.to_owned())
    }

    pub(crate) async fn next_event(&mut self) -> ProxyEvent {
        within("an event of the proxy", self.events.recv()).await.unwrap()
    }
}

pub(crate) fn upgrade(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

/// A runner that does what the test says.
pub(crate) struct FakeRunner {
    pub(crate) instance: RoutedInstance,
    offers: mpsc::Receiver<Arrived>,
    tasks: JoinSet<()>,
    _folder: tempfile::TempDir,
}

/// A client in a runner's hands.
pub(crate) struct Arrived {
    pub(crate) offer: Offer,
    pub(crate) head: String,
    pub(crate) rest: Vec<u8>,
    stream: std::net::TcpStream,
    channel: Arc<Channel>,
}

impl FakeRunner {
    pub(crate) fn start(service: u128, index: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("takeover.sock");
        let listener = Listener::bind(&path).unwrap();
        let (sender, offers) = mpsc::channel(1000);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, sender));
        let instance = instance(service, index, &path);
        Self { instance, offers, tasks, _folder: folder }
    }

    /// The next client.
    pub(crate) async fn next(&mut self) -> Arrived {
        within("an offer", self.offers.recv()).await.unwrap()
    }

    pub(crate) fn is_idle(&mut self) -> bool {
        self.offers.try_recv().is_err()
    }

    /// Takes every client and closes it.
    pub(crate) fn take_all(mut self) -> RoutedInstance {
        let instance = self.instance.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Some(arrived) = self.offers.recv().await {
                drop(arrived.take().await);
            }
            // The acceptor and the folder live as long as this task.
            drop(self);
        });
        tasks.detach_all();
        instance
    }

    /// Ends the runner: its sockets are closed.
    pub(crate) async fn end(mut self) {
        self.tasks.shutdown().await;
    }
}

async fn accept(listener: Listener, sender: mpsc::Sender<Arrived>) {
    let mut channels = JoinSet::new();
    loop {
        let channel = Arc::new(listener.accept().await.unwrap());
        channels.spawn(read(channel, sender.clone()));
    }
}

async fn read(channel: Arc<Channel>, sender: mpsc::Sender<Arrived>) {
    let mut buffer = Vec::new();
    while let Ok(Some(received)) = channel.recv(&mut buffer).await {
        let (Down::Offer(offer), raw) = decode::<Down>(&buffer).unwrap() else { panic!("no offer") };
        let (head, rest) = raw.split_at(offer.head_len);
        let arrived = Arrived {
            head: String::from_utf8(head.to_vec()).unwrap(),
            rest: rest.to_vec(),
            stream: received.descriptor.unwrap().into(),
            channel: Arc::clone(&channel),
            offer,
        };
        if sender.send(arrived).await.is_err() {
            return;
        }
    }
}

impl Arrived {
    /// The same client once more: a runner that takes it and gives it back later.
    pub(crate) fn duplicate(&self) -> Self {
        Self {
            offer: self.offer.clone(),
            head: self.head.clone(),
            rest: self.rest.clone(),
            stream: self.stream.try_clone().unwrap(),
            channel: Arc::clone(&self.channel),
        }
    }

    pub(crate) async fn take(self) -> TcpStream {
        let mut message = Vec::new();
        encode(&mut message, &Up::Taken { connection_id: self.offer.connection_id }, &[]).unwrap();
        self.channel.send(&message, None).await.unwrap();
        TcpStream::from_std(self.stream).unwrap()
    }

    pub(crate) async fn give_back(self, reason: Refusal) {
        let mut message = Vec::new();
        let detail = format!("it is {reason:?}");
        let up = Up::GivenBack { offer: self.offer, reason, detail };
        encode(&mut message, &up, &[self.head.as_bytes(), &self.rest]).unwrap();
        self.channel.send(&message, Some(self.stream.as_fd())).await.unwrap();
    }
}

pub(crate) fn instance(service: u128, index: u32, takeover: &Path) -> RoutedInstance {
    RoutedInstance {
        key: InstanceKey { service_id: ServiceId(Uuid::from_u128(service)), index },
        name: format!("instance-{index}").into(),
        start_id: StartId(Uuid::new_v4()),
        takeover: Arc::from(takeover),
        upstream: None,
        eligible: true,
        may_become_eligible: false,
        max_places: 0,
        places: 0,
        weight: 1,
    }
}

/// The service `weather` with these instances.
pub(crate) fn weather(instances: impl IntoIterator<Item = RoutedInstance>) -> RoutingSnapshot {
    let instances = instances.into_iter().collect();
    RoutingSnapshot::new(vec![RoutedService { name: "weather".into(), tags: Default::default(), instances }])
}

/// The same instance, not ready yet.
pub(crate) fn starting(instance: &RoutedInstance) -> RoutedInstance {
    RoutedInstance { eligible: false, may_become_eligible: true, ..instance.clone() }
}

/// That bytes go both ways between a client and whoever has the other end.
pub(crate) async fn assert_connected(client: &mut TcpStream, server: &mut TcpStream) {
    let mut buffer = [0; 4];
    server.write_all(b"down").await.unwrap();
    within("bytes to the client", client.read_exact(&mut buffer)).await.unwrap();
    assert_eq!(&buffer, b"down");
    client.write_all(b"up..").await.unwrap();
    within("bytes to the runner", server.read_exact(&mut buffer)).await.unwrap();
    assert_eq!(&buffer, b"up..");
}

/// Descriptors of this process; exact because each test has a process of its own.
pub(crate) fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
