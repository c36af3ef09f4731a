use std::io::{Read, Write};
use std::time::SystemTime;

use wgmfa_tests::ping::Pings;
use wgmfa_tests::wait::{LONG, until};

use super::*;

/// What administrators write.
const SITE: &str = "table inet site {
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        iifname \"wg0\" accept
    }
}
";

const LEFT: Duration = Duration::from_secs(3);

/// The kernel ends it, with nobody's help.
#[test]
fn of_nftables() {
    let bed = Bed::new();
    bed.nft(SITE);
    bed.with_gate(Backend::Nftables, |gate| {
        gate.install(&layout(), &[]).unwrap();
        let openings = [opening(PEERS[0], "prod", LEFT), opening(PEERS6[0], "prod", LEFT)];
        let since = SystemTime::now();
        gate.change(&openings, &[]).unwrap();
        ends(&bed, since, || {});
        gate.intact().unwrap();
    });
}

/// The agent ends it.
#[test]
fn of_ip_rule() {
    let bed = Bed::new();
    bed.nft(SITE);
    bed.with_gate(Backend::IpRule, |gate| {
        gate.install(&layout(), &[]).unwrap();
        let openings = [opening(PEERS[0], "prod", LEFT), opening(PEERS6[0], "prod", LEFT)];
        let mut closing: Vec<_> = openings.iter().map(|one| (one.addresses.clone(), one.tier.clone())).collect();
        let since = SystemTime::now();
        gate.change(&openings, &[]).unwrap();
        ends(&bed, since, || {
            if since.elapsed().unwrap() > LEFT {
                gate.change(&[], &std::mem::take(&mut closing)).unwrap();
            }
        });
        gate.intact().unwrap();
    });
}

/// Through the gateway, and to the gateway itself.
const STREAMS: [(&str, &str); 4] =
    [(PEERS[0], INSIDE), (PEERS6[0], INSIDE6), (PEERS[0], GATEWAY), (PEERS6[0], GATEWAY6)];

/// Begins two pings and four streams, and sees that they run and that they end.
fn ends(bed: &Bed, since: SystemTime, mut meanwhile: impl FnMut()) {
    let pings = [INSIDE, INSIDE6].map(|address| Pings::start(&bed.peers, address));
    let over = since + LEFT + Duration::from_millis(1500); // the machine may be busy
    std::thread::scope(|scope| {
        let streams = STREAMS.map(|(from, to)| scope.spawn(move || stream(bed, from, to, over)));
        while streams.iter().any(|stream| !stream.is_finished()) {
            meanwhile();
            std::thread::sleep(Duration::from_millis(5));
        }
        for (stream, (from, to)) in streams.into_iter().zip(STREAMS) {
            let last = stream.join().unwrap().unwrap_or_else(|| panic!("the stream from {from} to {to} never ran"));
            assert!(last < over, "the stream from {from} to {to} ran for {:?}", last.duration_since(since));
        }
    });
    for pings in &pings {
        let reply = pings.await_silence(Duration::from_secs(1), LONG).expect("they ran");
        assert!(reply.received < over, "pings were answered for {:?}", reply.received.duration_since(since));
    }
}

/// Sends bytes that come back, until one does not; when the last one came back.
fn stream(bed: &Bed, from: &str, to: &str, over: SystemTime) -> Option<SystemTime> {
    let address = SocketAddr::new(to.parse().unwrap(), 5000);
    let server = if to == GATEWAY || to == GATEWAY6 { &bed.gateway } else { &bed.inside };
    let listener = server.within(|| TcpListener::bind(address)).unwrap();
    let mut stream = bed.peers.within(|| connect(from.parse().unwrap(), address, Duration::from_millis(900))).ok()?;
    let (mut other, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    other.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut last = None;
    let mut echo = || {
        stream.write_all(b"x")?;
        other.read_exact(&mut [0])?;
        other.write_all(b"y")?;
        stream.read_exact(&mut [0])
    };
    while echo().is_ok() {
        last = Some(SystemTime::now());
        if last > Some(over) {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    last
}

#[test]
fn a_renewal_prolongs_it() {
    let bed = Bed::new();
    bed.with_gate(Backend::Nftables, |gate| {
        gate.install(&layout(), &[]).unwrap();
        gate.change(&[opening(PEERS[0], "prod", LEFT)], &[]).unwrap();
        let first = SystemTime::now();
        gate.change(&[opening(PEERS[0], "prod", HOUR)], &[]).unwrap();
        until("the first deadline", LONG, || (first.elapsed().unwrap() > LEFT + Duration::from_secs(1)).then_some(()));
        assert!(bed.pings(PEERS[0], INSIDE));
        gate.intact().unwrap();
        gate.change(&[opening(PEERS[0], "prod", Duration::from_millis(500))], &[]).unwrap();
        until("the end", LONG, || (!bed.pings(PEERS[0], INSIDE)).then_some(()));
    });
}

/// A kernel takes a time of no ticks for one without an end.
#[test]
fn what_is_all_but_over_is_not_opened() {
    let bed = Bed::new();
    bed.with_gate(Backend::Nftables, |gate| {
        let left = [0, 1, 9, 19].map(Duration::from_millis);
        let openings: Vec<Opening> = left.iter().map(|left| opening(PEERS[0], "prod", *left)).collect();
        gate.install(&layout(), &openings).unwrap();
        assert!(!bed.pings(PEERS[0], INSIDE));
        gate.change(&openings, &[]).unwrap();
        assert!(!bed.pings(PEERS[0], INSIDE));
        gate.intact().unwrap();
    });
}
