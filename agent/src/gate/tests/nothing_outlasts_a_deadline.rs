use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
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

/// Begins two pings and a stream, and sees that they run and that they end.
fn ends(bed: &Bed, since: SystemTime, mut meanwhile: impl FnMut()) {
    let pings = [INSIDE, INSIDE6].map(|address| Pings::start(&bed.peers, address));
    let address: SocketAddr = format!("{INSIDE}:5000").parse().unwrap();
    let listener = bed.inside.within(|| TcpListener::bind(address)).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            let mut byte = [0];
            while !stop.load(Ordering::Relaxed) {
                if stream.read(&mut byte).is_ok_and(|length| length == 1) {
                    let _ = stream.write_all(&byte);
                }
            }
        });
        let mut stream =
            bed.peers.within(|| connect(PEERS[0].parse().unwrap(), address, Duration::from_millis(900))).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let mut last = SystemTime::now();
        let mut echoes = 0;
        // until an answer stays away
        while stream.write_all(b"x").is_ok() && stream.read(&mut [0]).is_ok_and(|length| length == 1) {
            (last, echoes) = (SystemTime::now(), echoes + 1);
            meanwhile();
            std::thread::sleep(Duration::from_millis(5));
            if since.elapsed().unwrap() > 10 * LEFT {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert!(echoes > 0, "it ran");
        let over = since + LEFT + Duration::from_millis(1500); // the machine may be busy; the pings tell more exactly
        assert!(last < over, "the stream ran for {:?}", last.duration_since(since));
        for pings in &pings {
            let reply = pings.await_silence(Duration::from_secs(1), LONG).expect("it ran");
            assert!(reply.received < over, "pings were answered for {:?}", reply.received.duration_since(since));
        }
    });
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
