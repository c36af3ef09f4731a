use super::*;

/// RFC 6238 appendix B: seconds, then the codes for SHA-1, SHA-256 and SHA-512.
const APPENDIX_B: [(i64, [&str; 3]); 6] = [
    (59, ["94287082", "46119246", "90693936"]),
    (1_111_111_109, ["07081804", "68084774", "25091201"]),
    (1_111_111_111, ["14050471", "67062674", "99943326"]),
    (1_234_567_890, ["89005924", "91819424", "93441116"]),
    (2_000_000_000, ["69279037", "90698825", "38618901"]),
    (20_000_000_000, ["65353130", "77737706", "47863826"]),
];

const DIGITS_OF_APPENDIX_B: &[u8] = b"1234567890123456789012345678901234567890123456789012345678901234";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn secret() -> CodeSecret {
    CodeSecret::from_random([0x5a; 20])
}

fn code(step: u64) -> Zeroizing<String> {
    digits_at(&secret().totp(Parameters::default()), Step(step))
}

fn judge(code: &str, second: i64, after: Option<u64>) -> CodeVerdict {
    verify(&secret(), Parameters::default(), code, at(second), after.map(Step))
}

#[test]
fn the_18_codes_of_rfc_6238_are_right_at_their_time() {
    for (second, codes) in APPENDIX_B {
        for (column, (algorithm, length)) in
            [(Algorithm::Sha1, 20), (Algorithm::Sha256, 32), (Algorithm::Sha512, 64)].into_iter().enumerate()
        {
            let secret = CodeSecret::from_bytes(&DIGITS_OF_APPENDIX_B[..length]).unwrap();
            let parameters = Parameters { algorithm, digits: Digits(8) };
            let step = Step::at(at(second));
            assert_eq!(*digits_at(&secret.totp(parameters), step), codes[column]);
            assert_eq!(verify(&secret, parameters, codes[column], at(second), None), CodeVerdict::Accept(step));
        }
    }
}

#[test]
fn a_code_is_right_one_step_early_and_one_step_late_and_no_more() {
    let code = code(1000);
    for (second, right) in [(29_969, false), (29_970, true), (30_000, true), (30_059, true), (30_060, false)] {
        let expected = if right { CodeVerdict::Accept(Step(1000)) } else { CodeVerdict::Wrong };
        assert_eq!(judge(&code, second, None), expected, "{second}");
    }
}

#[test]
fn a_step_is_accepted_only_above_the_last_one() {
    assert_eq!(judge(&code(1000), 30_000, Some(999)), CodeVerdict::Accept(Step(1000)));
    assert_eq!(judge(&code(1000), 30_000, Some(1000)), CodeVerdict::Used);
    assert_eq!(judge(&code(999), 30_000, Some(1000)), CodeVerdict::Used);
    assert_eq!(judge(&code(1001), 30_000, Some(1000)), CodeVerdict::Accept(Step(1001)));
    assert_eq!(judge(&code(2000), 30_000, Some(1000)), CodeVerdict::Wrong);
}

/// Steps whose codes have the same digits, at most two apart: they exist, about two in a million.
fn colliding_steps() -> (u64, u64) {
    let totp = secret().totp(Parameters::default());
    let digits = |step| totp.generate(step * PERIOD_SECONDS);
    (0..).find_map(|s| [s + 1, s + 2].into_iter().find(|n| digits(*n) == digits(s)).map(|n| (s, n))).unwrap()
}

#[test]
fn a_code_that_two_steps_share_is_still_accepted_once() {
    let (first, second) = colliding_steps();
    let shared = code(first);
    assert_eq!(*shared, *code(second));
    let middle = i64::try_from((second - 1) * PERIOD_SECONDS).unwrap();
    // both in the window: the newer one is spent, and the older one with it
    assert_eq!(judge(&shared, middle, None), CodeVerdict::Accept(Step(second)));
    assert_eq!(judge(&shared, middle, Some(second)), CodeVerdict::Used);
    // the older one was spent, and only the newer one is still in the window
    let later = i64::try_from((second + 1) * PERIOD_SECONDS).unwrap();
    assert_eq!(judge(&shared, later, Some(first)), CodeVerdict::Used);
}

#[test]
fn white_space_is_ignored_and_nothing_else() {
    let right = code(1000).to_string();
    let spaced = format!(" {} {}\t\n", &right[..3], &right[3..]);
    assert_eq!(judge(&spaced, 30_000, None), CodeVerdict::Accept(Step(1000)));
    for wrong in [
        String::new(),
        " ".into(),
        right[..5].into(),
        format!("{right}0"),
        format!("0{right}"),
        format!("+{}", &right[1..]),
        format!("{}-{}", &right[..3], &right[3..]),
        right.replace(|_| true, "\u{0661}"),
        "x".repeat(100_000),
    ] {
        assert_eq!(judge(&wrong, 30_000, None), CodeVerdict::Wrong);
    }
}

#[test]
fn the_first_and_the_last_times_do_no_harm() {
    assert_eq!(judge(&code(0), 0, None), CodeVerdict::Accept(Step(0)));
    assert_eq!(judge(&code(0), -1000, None), CodeVerdict::Accept(Step(0)));
    assert_eq!(verify(&secret(), Parameters::default(), "1", Timestamp::MAX, None), CodeVerdict::Wrong);
    assert_eq!(judge(&code(0), 0, Some(u64::MAX / PERIOD_SECONDS)), CodeVerdict::Used);
}

#[test]
fn secrets_are_long_enough_and_hidden() {
    assert_eq!(CodeSecret::from_bytes(&[1; 15]), Err(CodeSecretError::TooShort));
    assert!(CodeSecret::from_bytes(&[1; 16]).is_ok());
    assert_eq!(CodeSecret::from_base32("MFRGGZDF"), Err(CodeSecretError::TooShort));
    for bad in ["MFRGGZDF1", "MFRGGZDF!", "mfrgg=zdf", "ä"] {
        assert_eq!(CodeSecret::from_base32(bad), Err(CodeSecretError::NotBase32));
    }
    assert_eq!(format!("{:?}", secret()), "CodeSecret(hidden)");
}

#[test]
fn base32_comes_back_in_any_spelling() {
    let text = secret().expose_base32();
    assert_eq!(text.len(), 32);
    assert_eq!(CodeSecret::from_base32(&text), Ok(secret()));
    assert_eq!(CodeSecret::from_base32(&format!("{} {}====", &text[..4].to_lowercase(), &text[4..])), Ok(secret()));
}

#[test]
fn digits_are_six_to_eight() {
    assert!([5, 9, 0, 255].into_iter().all(|digits| Digits::try_from(digits).is_err()));
    assert_eq!(serde_json::to_string(&Parameters::default()).unwrap(), r#"{"algorithm":"sha1","digits":6}"#);
    assert!(serde_json::from_str::<Parameters>(r#"{"algorithm":"sha1","digits":10}"#).is_err());
}

#[test]
fn the_url_names_issuer_and_account_and_only_what_is_unusual() {
    let user = "ada.l_2".parse().unwrap();
    let base32 = secret().expose_base32();
    assert_eq!(
        *otpauth_url(&secret(), Parameters::default(), "bastion.example.net", &user),
        format!(
            "otpauth://totp/wgmfa%20bastion.example.net:ada.l_2?secret={}&issuer=wgmfa%20bastion.example.net",
            *base32
        )
    );
    let unusual = Parameters { algorithm: Algorithm::Sha512, digits: Digits(8) };
    let url = otpauth_url(&secret(), unusual, "b:2222&x", &user);
    assert!(url.starts_with("otpauth://totp/wgmfa%20b-2222%26x:ada.l_2?"));
    assert!(url.ends_with("&issuer=wgmfa%20b-2222%26x&algorithm=SHA512&digits=8"));
}
