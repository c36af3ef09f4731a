use super::*;

/// On a kernel that has flowtables; there is nothing to be seen on another one.
#[test]
fn with_what_to_do() {
    let bed = Bed::new();
    bed.with_gate(Backend::Nftables, |gate| {
        gate.install(&layout(), &[]).unwrap();
        assert_eq!(gate.bypassed(), None);
        let text = "table inet site {\n flowtable fast {\n hook ingress priority 0\n devices = { lan0 }\n }\n }\n";
        let made = wgmfa_tests::program::run(bed.gateway.command("nft").args(["-f", "-"]), text.as_bytes());
        if made.stderr.contains("No such file or directory") {
            return;
        }
        made.ok();
        let why = gate.bypassed().unwrap();
        assert!(why.contains("flowtable fast") && why.contains("table site") && why.contains("flow add"), "{why}");
        bed.nft("delete table inet site");
        assert_eq!(gate.bypassed(), None);
    });
}
