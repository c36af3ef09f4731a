//! Two ends, a bastion and a tunnel between the ends, with everything cut short at any moment.

use super::*;

/// What a machine has on disk and on its interface.
struct End {
    held: Held,
    /// The generation on the interface; 0: the configured key.
    interface: u64,
    handshake: Option<u64>,
    handshake_then: Option<u64>,
}

/// Where a round is cut short.
#[derive(Debug, Clone, Copy)]
enum Cut {
    Nowhere,
    /// What was decided is on disk, and the machine's agent dies.
    Saved,
    /// It is done, and the bastion does not hear of it.
    Done,
}

#[derive(Debug, Clone)]
enum Event {
    Round(PairEnd, Cut),
    Reboot(PairEnd),
    /// The interface gets the key of its file again.
    Reload(PairEnd),
    Order,
    Pass(u64),
}

struct World {
    now: u64,
    ends: [End; 2],
    /// At the bastion.
    deposited: Option<(u64, bool)>,
    in_use: Option<InUse>,
    ordered: Option<String>,
    highest: u64,
}

const INTERVAL: u64 = 60;

fn index(end: PairEnd) -> usize {
    usize::from(end == PairEnd::Second)
}

impl World {
    fn new() -> Self {
        let end = |end| End {
            held: Held { end, keys: vec![key(0)], used: Some(0), since: at(0) },
            interface: 0,
            handshake: Some(0),
            handshake_then: Some(0),
        };
        let ends = [end(PairEnd::First), end(PairEnd::Second)];
        Self { now: 1, ends, deposited: None, in_use: None, ordered: None, highest: 0 }
    }

    fn plan(&self, end: PairEnd, said: Option<&PairAssignment>) -> Vec<Action> {
        let this = &self.ends[index(end)];
        let handshake = this.handshake.map(|handshake| Handshake {
            age_seconds: self.now - handshake,
            changed: this.handshake != this.handshake_then,
        });
        let observed = Some(print(this.interface));
        plan(&View { now: at(self.now), held: &this.held, observed, handshake, said, patience: Patience::default() })
    }

    fn assignment(&self, end: PairEnd) -> PairAssignment {
        let ordered = self.ordered.clone();
        let facts = Facts { deposited: self.deposited, in_use: self.in_use, rotation_ordered: ordered };
        let now = jiff::Timestamp::from_second(self.now.cast_signed()).unwrap();
        let newest = self.deposited.map(|(generation, _)| generation).or(self.in_use.map(|one| one.generation));
        let holds = |generation: &u64| self.ends[index(end)].held.key(*generation).is_some();
        let given = newest.filter(|newest| !holds(newest));
        let mut said = said(end, standing(&facts, now), given.map(|_| 1));
        if let (Some(key), Some(generation)) = (&mut said.key, given) {
            key.generation = generation;
        }
        (said.highest_generation, said.rotation_interval) = (self.highest, INTERVAL);
        said.applied_generation = self.in_use.map_or(0, |one| one.generation);
        said
    }

    fn put(&mut self, end: PairEnd, generation: u64, cut: Cut) {
        let now = self.now;
        let this = &mut self.ends[index(end)];
        assert!(this.held.key(generation).is_some(), "{end:?} puts {generation}, which it does not hold");
        (this.held.used, this.held.since, this.handshake_then) = (Some(generation), at(now), this.handshake);
        if !matches!(cut, Cut::Saved) {
            this.interface = generation;
        }
    }

    /// Carries actions out as an agent does; false: it died.
    fn carry_out(&mut self, end: PairEnd, actions: Vec<Action>, cut: Cut) -> bool {
        for action in actions {
            match action {
                Action::Put { generation, .. } | Action::Try { generation, .. } => {
                    self.put(end, generation, cut);
                    if matches!(cut, Cut::Saved) {
                        return false;
                    }
                }
                Action::Stage { generation, beside } => {
                    let held = &mut self.ends[index(end)].held;
                    held.keys.retain(|key| Some(key.generation) == beside);
                    held.keys.push(key(generation));
                    if !matches!(cut, Cut::Nowhere) {
                        return false;
                    }
                    if let Some((deposited, staged)) = &mut self.deposited
                        && end == PairEnd::Second
                        && *deposited == generation
                    {
                        *staged = true;
                    }
                }
                Action::Make { generation, .. } => {
                    let held = &mut self.ends[0].held;
                    held.keys.retain(|key| Some(key.generation) == held.used);
                    held.keys.push(key(generation));
                    if !matches!(cut, Cut::Nowhere) {
                        return false;
                    }
                    assert!(generation > self.highest, "generations only go up");
                    (self.highest, self.deposited) = (generation, Some((generation, false)));
                }
                Action::Confirm { generation } => {
                    if matches!(cut, Cut::Done) {
                        return false;
                    }
                    self.confirm(end, generation);
                }
                Action::Forget { but } => {
                    self.ends[index(end)].held.keys.retain(|key| key.generation == but);
                }
                Action::Wait { .. } => {}
            }
        }
        true
    }

    fn confirm(&mut self, end: PairEnd, generation: u64) {
        match end {
            PairEnd::First if self.deposited.is_some_and(|(deposited, _)| deposited == generation) => {
                let since = jiff::Timestamp::from_second(self.now.cast_signed()).unwrap();
                self.in_use = Some(InUse { generation, since, on_both: false });
                (self.deposited, self.ordered) = (None, None);
            }
            PairEnd::First => {}
            PairEnd::Second => {
                if let Some(in_use) = &mut self.in_use
                    && in_use.generation == generation
                {
                    in_use.on_both = true;
                }
            }
        }
    }

    fn round(&mut self, end: PairEnd, cut: Cut) {
        // what the report says
        if let (PairEnd::Second, Some((deposited, staged))) = (end, &mut self.deposited) {
            *staged = *staged || self.ends[1].held.key(*deposited).is_some();
        }
        let first = &self.ends[0];
        if end == PairEnd::First && self.deposited.is_some_and(|(deposited, _)| deposited == first.interface) {
            self.confirm(end, first.interface);
        }
        let said = self.assignment(end);
        let actions = self.plan(end, Some(&said));
        self.carry_out(end, actions, cut);
    }

    /// A second goes by: the agents look, WireGuard shakes hands every two minutes, and every five seconds in vain.
    fn second(&mut self) {
        self.now += 1;
        for end in [PairEnd::First, PairEnd::Second] {
            let actions = self.plan(end, None);
            self.carry_out(end, actions, Cut::Nowhere);
        }
        let oldest = self.ends.iter().map(|end| end.handshake).min().flatten();
        let due = oldest.is_none_or(|handshake| self.now - handshake >= 120);
        if due && self.now.is_multiple_of(5) && self.is_one() {
            self.ends.iter_mut().for_each(|end| end.handshake = Some(self.now));
        }
    }

    fn is_one(&self) -> bool {
        self.ends[0].interface == self.ends[1].interface
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Round(end, cut) => self.round(end, cut),
            Event::Reboot(end) => {
                let now = self.now;
                let this = &mut self.ends[index(end)];
                (this.interface, this.handshake, this.handshake_then, this.held.since) = (0, None, None, at(now));
                // the other end's session is worth nothing any more, and its next handshake is due
            }
            Event::Reload(end) => self.ends[index(end)].interface = 0,
            Event::Order => {
                if self.in_use.is_some() {
                    self.ordered = Some("ordered".to_owned());
                }
            }
            Event::Pass(seconds) => (0..seconds).for_each(|_| self.second()),
        }
        for end in &self.ends {
            assert!(end.held.keys.len() <= 2, "{:?} holds {:?}", end.held.end, end.held.keys);
        }
        let used = self.ends[0].held.used.expect("the first end always uses one");
        let second = &self.ends[1].held;
        assert!(second.key(used).is_some(), "the first end uses {used}, and the second one holds {:?}", second.keys);
    }
}

fn event() -> impl Strategy<Value = Event> {
    let end = || prop_oneof![Just(PairEnd::First), Just(PairEnd::Second)];
    let cut = prop_oneof![3 => Just(Cut::Nowhere), 1 => Just(Cut::Saved), 1 => Just(Cut::Done)];
    prop_oneof![
        8 => (end(), cut).prop_map(|(end, cut)| Event::Round(end, cut)),
        1 => end().prop_map(Event::Reboot),
        1 => end().prop_map(Event::Reload),
        1 => Just(Event::Order),
        2 => (1u64..200).prop_map(Event::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_ends_find_together_without_the_bastion_and_go_on_with_it(events in prop::collection::vec(event(), 0..40)) {
        let mut world = World::new();
        for event in &events {
            world.happen(event);
        }
        // the bastion is away: the agents alone
        let quiet = (0..400).find(|_| {
            world.second();
            let proved = world.ends.iter().all(|end| end.handshake.is_some_and(|at| world.now - at < 120));
            world.is_one() && proved
        });
        prop_assert!(quiet.is_some(), "the tunnel does not come back: {:?} {:?}", world.ends[0].held, world.ends[1].held);
        // it is back: an ordered generation reaches both ends
        let before = world.highest;
        world.round(PairEnd::First, Cut::Nowhere);
        world.ordered = world.in_use.map(|_| "ordered".to_owned());
        for _ in 0..6 {
            world.happen(&Event::Round(PairEnd::Second, Cut::Nowhere));
            world.happen(&Event::Round(PairEnd::First, Cut::Nowhere));
        }
        let settled = world.in_use.expect("one is in use");
        prop_assert!(settled.on_both && settled.generation >= before && world.ordered.is_none(), "{settled:?}");
        for end in &world.ends {
            prop_assert_eq!((end.interface, end.held.used), (settled.generation, Some(settled.generation)));
        }
    }

    #[test]
    fn a_second_end_that_hears_nothing_more_loses_no_session(events in prop::collection::vec(event(), 0..40)) {
        let mut world = World::new();
        for event in &events {
            if !matches!(event, Event::Reboot(_) | Event::Reload(_)) {
                world.happen(event);
                let session = |end: &End| world.now - end.handshake.expect("there was one");
                prop_assert!(world.ends.iter().all(|end| session(end) <= 180), "after {event:?}");
            }
        }
    }
}
