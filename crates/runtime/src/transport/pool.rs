//! The processes of one role, as whoever calls it sees them.
//!
//! Why not the balancer that tonic brings: it knows how many calls wait at an address but not that it is away, and an address
//! that refuses every connection at once looks like the one that has the least to do.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};
use vidimus_domain::Failure;
use vidimus_ports::Random;

use super::addresses::{Addresses, Host};
use super::status::Trouble;
use super::tls::Loaded;
use super::{CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES, TransportConfig, TransportError};
use crate::deadline;
use crate::errors::status_from_failure;
use crate::traces;

/// How long an address that failed is left alone, at first and at most.
const DOWN_FIRST: Duration = Duration::from_millis(250);
const DOWN_LAST: Duration = Duration::from_secs(5);
/// The longest pause before a further attempt; how much of it is left to chance.
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// How long the look-up of one name may take.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);
/// How soon a look-up that has found nothing yet is done again.
const LOOKUP_PAUSE: Duration = Duration::from_millis(250);

/// What a pool stands on.
#[derive(Clone)]
pub struct PoolDeps {
    /// How calls behave.
    pub config: TransportConfig,
    /// For pauses.
    pub random: Arc<dyn Random>,
    /// What calls count.
    pub metrics: CallMetrics,
}

/// What the calls of all pools count.
#[derive(Clone, Debug, Default)]
pub struct CallMetrics {
    failed: Family<FailureLabel, Counter>,
}

impl CallMetrics {
    /// Counts in `registry`.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "vidimus_role_call_failures",
            "Attempts to call a role elsewhere that failed, by why; those too that another process then answered",
            metrics.failed.clone(),
        );
        metrics
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabel {
    role: &'static str,
    why: &'static str,
}

/// Which calls may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Only those that the other side has not heard of.
    NotSent,
    /// Those too whose fate is not known: to do them twice is to do them once.
    Always,
}

/// The processes of one role.
pub struct Pool {
    role: &'static str,
    members: watch::Receiver<Vec<Arc<Member>>>,
    turn: AtomicUsize,
    deps: PoolDeps,
    _lookup: AbortOnDropHandle<()>,
}

/// One process.
pub(super) struct Member {
    host: Host,
    socket: SocketAddr,
    pub(super) channel: Channel,
    in_flight: AtomicUsize,
    down: Mutex<Down>,
}

#[derive(Default)]
struct Down {
    failures: u32,
    until: Option<Instant>,
}

/// A call that an address is busy with.
struct InFlight<'a>(&'a Member);

impl Pool {
    /// The processes of `role` at `addresses`, which are looked up from now on.
    ///
    /// # Errors
    /// Where a certificate cannot be read or used.
    pub fn new(
        role: &'static str,
        addresses: &Addresses,
        deps: PoolDeps,
    ) -> Result<Arc<Self>, TransportError> {
        let tls = deps.config.tls.as_ref().filter(|_| addresses.over_tls());
        let maker = Maker { config: deps.config.clone(), tls: tls.map(|tls| tls.load()).transpose()? };
        let (sender, members) = watch::channel(Vec::new());
        let lookup = Lookup { hosts: addresses.hosts().to_vec(), maker, sender };
        let lookup = AbortOnDropHandle::new(tokio::spawn(lookup.run()));
        Ok(Arc::new(Self { role, members, turn: AtomicUsize::new(0), deps, _lookup: lookup }))
    }

    /// All processes that are known at present.
    pub(super) fn members(&self) -> Vec<Arc<Member>> {
        self.members.borrow().clone()
    }

    /// Sends a call to the process that has the least to do, and to another one where that one is away, until the caller's
    /// deadline.
    pub(super) async fn call<Q, A, F>(
        &self,
        request: Request<Q>,
        repeat: Repeat,
        send: impl Fn(Channel, Request<Q>) -> F,
    ) -> Result<Response<A>, Status>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let timeout = self.deps.config.call_timeout;
        let patience = deadline::remaining().map_or(timeout, |left| left.min(timeout));
        let attempts = self.attempts(request.into_inner(), (Instant::now() + patience, repeat), send);
        let answered = async {
            match tokio::time::timeout(patience, attempts).await {
                Ok(answer) => answer,
                Err(_) => Err(unavailable("another part of the service did not answer in time")),
            }
        };
        traces::noted(traces::call(self.role), answered).await
    }

    async fn attempts<Q, A, F>(
        &self,
        message: Q,
        (until, repeat): (Instant, Repeat),
        send: impl Fn(Channel, Request<Q>) -> F,
    ) -> Result<Response<A>, Status>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let mut tried = Vec::new();
        loop {
            let member = self.pick(&tried).await;
            let mut request = Request::new(message.clone());
            request.set_timeout(until.saturating_duration_since(Instant::now()));
            traces::carry(request.metadata_mut());
            let answer = {
                let _in_flight = member.begin();
                send(member.channel.clone(), request).await
            };
            let status = match answer {
                Ok(answer) => {
                    member.is_up();
                    return Ok(answer);
                }
                Err(status) => status,
            };
            let trouble = Trouble::of(&status);
            member.failed(trouble);
            self.count(trouble);
            tried.push(member.socket);
            if !self.may_try_again(trouble, &tried, repeat) {
                return Err(self.told(status, trouble));
            }
            tracing::debug!(role = self.role, address = %member.socket, %status, "a call is tried again");
            tokio::time::sleep(self.pause()).await;
        }
    }

    fn may_try_again(&self, trouble: Trouble, tried: &[SocketAddr], repeat: Repeat) -> bool {
        let left = (tried.len() as u32) < self.deps.config.attempts_max;
        left && match trouble {
            Trouble::NotSent => true,
            Trouble::Lost => repeat == Repeat::Always,
            // It said when to come again; only somebody else may be quicker.
            Trouble::Refused => {
                let others = self.members().iter().any(|member| !tried.contains(&member.socket));
                repeat == Repeat::Always && others
            }
            Trouble::Final => false,
        }
    }

    /// What the caller is told: the role's own words, or that it is away.
    fn told(&self, status: Status, trouble: Trouble) -> Status {
        match trouble {
            Trouble::NotSent | Trouble::Lost => {
                tracing::warn!(role = self.role, %status, "no process of a role could be reached");
                unavailable("a part of the service is not available; try again")
            }
            Trouble::Refused | Trouble::Final => status,
        }
    }

    /// The next process to try: one that is up and was not tried, with the least to do; else the one that is down for the shortest
    /// time. Waits until any is known.
    async fn pick(&self, tried: &[SocketAddr]) -> Arc<Member> {
        let mut members = self.members.clone();
        loop {
            let known = members.borrow_and_update().clone();
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            if let Some(member) = best(&known, tried, turn) {
                return member;
            }
            if members.changed().await.is_err() {
                // The look-up has ended with the runtime: nobody will hear an answer.
                std::future::pending::<()>().await;
            }
        }
    }

    fn pause(&self) -> Duration {
        let mut byte = [0];
        self.deps.random.fill(&mut byte);
        PAUSE_MAX * u32::from(byte[0]) / u32::from(u8::MAX)
    }

    fn count(&self, trouble: Trouble) {
        if trouble != Trouble::Final {
            let label = FailureLabel { role: self.role, why: trouble.name() };
            self.deps.metrics.failed.get_or_create(&label).inc();
        }
    }
}

/// Which of the processes is to be tried: see [`Pool::pick`]. Equals take turns.
fn best(known: &[Arc<Member>], tried: &[SocketAddr], turn: usize) -> Option<Arc<Member>> {
    let now = Instant::now();
    let rank = |(place, member): &(usize, &Arc<Member>)| {
        let in_turn = (place + turn) % known.len();
        let was_tried = tried.contains(&member.socket);
        (was_tried, member.down_for(now), member.in_flight.load(Ordering::Relaxed), in_turn)
    };
    known.iter().enumerate().min_by_key(rank).map(|(_, member)| Arc::clone(member))
}

fn unavailable(message: &str) -> Status {
    status_from_failure(&Failure::unavailable(message, Duration::from_secs(1)))
}

impl Member {
    fn begin(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self)
    }

    fn down(&self) -> std::sync::MutexGuard<'_, Down> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_up(&self) {
        *self.down() = Down::default();
    }

    fn failed(&self, trouble: Trouble) {
        if !matches!(trouble, Trouble::NotSent | Trouble::Lost) {
            return;
        }
        let mut down = self.down();
        let pause = DOWN_FIRST.saturating_mul(1 << down.failures.min(8)).min(DOWN_LAST);
        down.failures += 1;
        down.until = Some(Instant::now() + pause);
    }

    /// How long it is still left alone; zero where it is up, or may be tried again.
    fn down_for(&self, now: Instant) -> Duration {
        self.down().until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Makes what speaks with one process.
struct Maker {
    config: TransportConfig,
    tls: Option<Loaded>,
}

impl Maker {
    /// Connects when it is first called.
    fn member(&self, host: &Host, socket: SocketAddr) -> Result<Arc<Member>, TransportError> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let endpoint = Endpoint::from_shared(format!("{scheme}://{socket}"))
            .map_err(TransportError::tonic("read an address"))?
            .connect_timeout(self.config.connect_timeout)
            .http2_keep_alive_interval(self.config.keepalive_interval)
            .keep_alive_timeout(self.config.keepalive_interval)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .tcp_nodelay(true);
        let endpoint = match &self.tls {
            Some(tls) => endpoint
                .tls_config(tls.client(&host.name))
                .map_err(TransportError::tonic("use certificates"))?,
            None => endpoint,
        };
        Ok(Arc::new(Member {
            host: host.clone(),
            socket,
            channel: endpoint.connect_lazy(),
            in_flight: AtomicUsize::new(0),
            down: Mutex::default(),
        }))
    }
}

/// Looks names up, again and again.
struct Lookup {
    hosts: Vec<Host>,
    maker: Maker,
    sender: watch::Sender<Vec<Arc<Member>>>,
}

impl Lookup {
    async fn run(self) {
        loop {
            let mut found = BTreeMap::new();
            for host in &self.hosts {
                self.look_up(host, &mut found).await;
            }
            self.publish(found);
            let known = !self.sender.borrow().is_empty();
            let pause = if known { self.maker.config.lookup_interval } else { LOOKUP_PAUSE };
            tokio::time::sleep(pause).await;
        }
    }

    /// Adds a name's addresses; those that are known where it cannot be looked up now.
    async fn look_up(&self, host: &Host, found: &mut BTreeMap<SocketAddr, Host>) {
        let lookup = tokio::net::lookup_host((host.name.as_str(), host.port));
        match tokio::time::timeout(LOOKUP_TIMEOUT, lookup).await {
            Ok(Ok(sockets)) => {
                let sockets: Vec<_> = sockets.collect();
                // Of a name with both kinds: the same process would be known, and asked, twice.
                let has_ipv4 = sockets.iter().any(SocketAddr::is_ipv4);
                let wanted = sockets.into_iter().filter(|socket| socket.is_ipv4() || !has_ipv4);
                found.extend(wanted.map(|socket| (socket, host.clone())));
            }
            Ok(Err(_)) | Err(_) => {
                tracing::warn!(host = host.name, "a name cannot be looked up; what it was last is kept");
                let known = self.sender.borrow();
                let known = known.iter().filter(|member| member.host == *host);
                found.extend(known.map(|member| (member.socket, host.clone())));
            }
        }
    }

    /// Tells of the addresses, where they are not those of before; what is known stays connected.
    fn publish(&self, found: BTreeMap<SocketAddr, Host>) {
        let known = self.sender.borrow().clone();
        if known.iter().map(|member| member.socket).eq(found.keys().copied()) {
            return;
        }
        let mut members = Vec::new();
        for (socket, host) in found {
            let kept = known.iter().find(|member| member.socket == socket).map(Arc::clone);
            match kept.map_or_else(|| self.maker.member(&host, socket), Ok) {
                Ok(member) => members.push(member),
                Err(error) => tracing::error!(%error, %socket, "an address cannot be used"),
            }
        }
        self.sender.send_replace(members);
    }
}
