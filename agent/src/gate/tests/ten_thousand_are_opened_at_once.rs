use super::*;

#[test]
fn and_closed() {
    let bed = Bed::new();
    bed.with_gate(Backend::Nftables, |gate| {
        let address = |at: usize| format!("10.7.{}.{}", at / 200, at % 200 + 2);
        let openings: Vec<Opening> = (0..10_000).map(|at| opening(&address(at), "prod", HOUR)).collect();
        gate.install(&layout(), &[]).unwrap();
        gate.change(&openings, &[]).unwrap();
        gate.intact().unwrap();
        assert!(bed.pings(PEERS[0], INSIDE) && bed.pings(PEERS[1], INSIDE));
        gate.change(&openings, &[]).unwrap();
        gate.install(&layout(), &openings).unwrap();
        gate.intact().unwrap();
        let closing: Vec<_> = openings.iter().skip(1).map(|one| (one.addresses.clone(), one.tier.clone())).collect();
        gate.change(&[], &closing).unwrap();
        gate.intact().unwrap();
        assert!(bed.pings(PEERS[0], INSIDE) && !bed.pings(PEERS[1], INSIDE));
    });
}
