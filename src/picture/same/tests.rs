use super::*;
use crate::picture::quality::{Fidelity, Metadata};
use crate::types::{CaptureTime, Format};

fn known(name: u8) -> Known {
    let facts = Facts {
        image: ImageId::Hash([7; 32]),
        bytes: 1000,
        width: 800,
        height: 600,
        format: Format::Jpeg,
        taken_at: None,
        guard: 50,
        traits: Traits::default(),
    };
    let encoding = Encoding { fidelity: Fidelity(900), metadata: Metadata::default() };
    let signature = Some(Signature::from_array([90; Signature::LEN]));
    Known { content: ContentId([name; 32]), facts, encoding, signature, edits: Edits::default() }
}

fn flipped(bits: usize) -> ImageId {
    let mut hash = [7; 32];
    (0..bits).for_each(|bit| hash[bit / 8] ^= 1 << (bit % 8));
    ImageId::Hash(hash)
}

/// What the screen says of a picture and the same one changed by `change`.
fn screened(change: impl Fn(&mut Known)) -> Result<u32, Verdict> {
    let mut other = known(2);
    change(&mut other);
    let (one, two) = (screen(&known(1), &other), screen(&other, &known(1)));
    assert_eq!(one.is_ok(), two.is_ok(), "the same either way: {one:?} {two:?}");
    one
}

#[test]
fn the_hash_decides_up_to_its_threshold() {
    assert_eq!(screened(|_| {}), Ok(0));
    assert_eq!(screened(|k| k.facts.image = flipped(24)), Ok(24));
    let far = screened(|k| k.facts.image = flipped(25));
    assert_eq!(far, Err(Verdict::Different(Doubt::Distance(25))));
}

#[test]
fn the_featureless_and_the_undecoded_match_by_content_only() {
    let different = Err(Verdict::Different(Doubt::NoHash));
    assert_eq!(screened(|k| k.facts.guard = 9), different);
    assert_eq!(screened(|k| k.signature = None), different);
    assert_eq!(screened(|k| k.facts.image = ImageId::Content(k.content)), different);
}

#[test]
fn every_trait_is_a_veto_on_either_side() {
    for bit in 0..5 {
        let traits = Traits(1 << bit);
        let found = screened(|k| k.facts.traits = traits);
        assert_eq!(found, Err(Verdict::Probable(Doubt::ContentOnly(traits))));
    }
}

#[test]
fn a_burst_is_told_by_its_times() {
    let apart = |a: &str, b: &str| {
        let time = |text: &str| CaptureTime::new(text);
        let (a, b) = (time(a).unwrap(), time(b).unwrap());
        assert_eq!(taken_apart(Some(&a), Some(&b)), taken_apart(Some(&b), Some(&a)));
        taken_apart(Some(&a), Some(&b))
    };
    let t = "2016-04-21T14:03:22";
    assert!(!apart(t, t));
    assert!(apart(t, "2016-04-21T14:03:23"));
    assert!(apart(&format!("{t}.120"), &format!("{t}.450")));
    assert!(!apart(&format!("{t}.120"), &format!("{t}.12")), "the same fraction");
    assert!(apart(&format!("{t}.000"), &format!("{t}.450")), "a fraction of zero is a fraction");
    assert!(!apart(&format!("{t}.120+02:00"), t), "another program kept only the seconds");
    assert!(apart(&format!("{t}+02:00"), &format!("{t}+01:00")));
    assert!(!taken_apart(CaptureTime::new(t).as_ref(), None));
    let verdict = screen(
        &Known { facts: Facts { taken_at: CaptureTime::new(t), ..known(1).facts }, ..known(1) },
        &Known {
            facts: Facts { taken_at: CaptureTime::new("2016-04-21T14:03:23"), ..known(2).facts },
            ..known(2)
        },
    );
    assert_eq!(verdict, Err(Verdict::Different(Doubt::CaptureTimes)));
}

#[test]
fn proportions_may_differ_by_rounding_only() {
    let sized = |width, height| screened(move |k| (k.facts.width, k.facts.height) = (width, height));
    assert_eq!(sized(400, 300), Ok(0));
    assert_eq!(sized(100, 76), Ok(0));
    assert!(matches!(sized(800, 620), Err(Verdict::Probable(Doubt::Aspect(_)))));
    assert!(matches!(sized(600, 800), Err(Verdict::Probable(Doubt::Aspect(_)))));
    assert_eq!(sized(80, 60), Err(Verdict::Probable(Doubt::TooSmall(60))));
}

#[test]
fn a_signature_that_differs_is_for_people() {
    let changed = |at: usize, by: u8| {
        screened(move |k| {
            let mut bytes = [90; Signature::LEN];
            bytes[at] += by;
            k.signature = Some(Signature::from_array(bytes));
        })
    };
    assert_eq!(changed(0, 16), Ok(0));
    assert!(matches!(changed(0, 17), Err(Verdict::Probable(Doubt::Signature(_)))));
    assert_eq!(changed(1500, 9), Ok(0));
    assert!(matches!(changed(1500, 10), Err(Verdict::Probable(Doubt::Signature(_)))));
}

/// A PNG made of a camera's JPEG has more bytes and is lossless, and has lost the date.
#[test]
fn a_keeper_never_knows_less_about_when_and_where() {
    let mut with_date = known(2);
    with_date.encoding.metadata = Metadata::CAPTURE_TIME.with(Metadata::CAMERA);
    assert_eq!(screen(&known(1), &with_date), Err(Verdict::Probable(Doubt::LessMetadata)));
    assert_eq!(screen(&with_date, &known(1)), Ok(0));
    with_date.encoding.metadata = Metadata::CAMERA;
    assert_eq!(screen(&known(1), &with_date), Ok(0), "a camera's name is no reason");
}

/// An edit in place is another picture to whoever made it, even if nothing is to be seen.
#[test]
fn an_edit_is_never_the_duplicate_of_what_it_was_made_of() {
    let edits = |of: &[u8], more| Edits { contents: of.iter().map(|n| ContentId([*n; 32])).collect(), more };
    let edited = Err(Verdict::Different(Doubt::Edited));
    assert_eq!(screened(|k| k.edits = edits(&[1, 9], false)), edited, "either one names the other");
    assert_eq!(screened(|k| k.edits = edits(&[1], true)), edited);
    assert_eq!(screened(|k| k.edits = edits(&[2, 9], false)), Ok(0), "of something else");
    assert_eq!(screened(|k| k.edits = edits(&[9], true)), Err(Verdict::Probable(Doubt::EditedOften)));
}

fn planes(luma: impl Fn(usize, usize) -> u8) -> PixelPlanes {
    let side = HASH.luma_side;
    PixelPlanes {
        luma: (0..side * side).map(|i| luma(i % side, i / side)).collect(),
        cb: vec![128; HASH.chroma_side * HASH.chroma_side],
        cr: vec![128; HASH.chroma_side * HASH.chroma_side],
    }
}

#[test]
fn a_patch_a_shade_and_a_tint_are_seen() {
    let texture = |x: usize, y: usize| ((x / 3 * 37) ^ (y / 3 * 91)) as u8 / 2 + 40;
    let original = planes(texture);
    assert_eq!(look(&original, &original, 600), Ok(LocalGap::NONE));
    let patched = planes(|x, y| if x > 240 && y > 240 { 99 } else { texture(x, y) });
    assert!(matches!(look(&original, &patched, 600), Err(Doubt::Pixels(_))));
    let brighter = planes(|x, y| texture(x, y) + 12);
    assert!(matches!(look(&original, &brighter, 600), Err(Doubt::Pixels(_))));
    let mut tinted = original.clone();
    tinted.cb[..256].fill(150);
    assert!(matches!(look(&original, &tinted, 600), Err(Doubt::Colours(_))));
}

#[test]
fn a_keeper_stands_for_a_witness_that_it_matches_and_for_itself() {
    let texture = |x: usize, y: usize| ((x / 3 * 37) ^ (y / 3 * 91)) as u8 / 2 + 40;
    let seen = planes(texture);
    let Known { content, facts, encoding, signature, .. } = known(1);
    let witness = Witness { content, facts, encoding, signature: signature.unwrap(), planes: seen.clone() };
    let refused = |change: fn(&mut Known), planes: &PixelPlanes| {
        let mut keeper = known(2);
        change(&mut keeper);
        matches_witness(&keeper, planes, &witness)
    };
    assert_eq!(refused(|_| {}, &seen), Ok(()));
    assert_eq!(refused(|k| k.facts.image = flipped(25), &seen), Err(Verdict::Different(Doubt::Distance(25))));
    let edit: fn(&mut Known) = |k| k.edits.contents = [ContentId([1; 32])].into();
    assert_eq!(refused(edit, &seen), Err(Verdict::Different(Doubt::Edited)));
    let other = planes(|x, y| if x > 240 && y > 240 { 99 } else { texture(x, y) });
    assert!(matches!(refused(|_| {}, &other), Err(Verdict::Probable(Doubt::Pixels(_)))));
    assert_eq!(refused(|k| k.content = ContentId([1; 32]), &other), Ok(()), "what went is back");
}

#[test]
fn an_enlarged_thumbnail_never_replaces_the_original() {
    let sharp = |energy: f64, part: f32| Detail {
        energy,
        parts: vec![energy as f32, part],
        cell: 1,
        width: 16,
        height: 16,
        cells: vec![100; 256],
    };
    let even = |energy: f64| sharp(energy, energy as f32);
    assert!(look_closely(&even(950.0), &even(1000.0)).is_ok());
    assert!(look_closely(&even(800.0), &even(1000.0)).is_ok(), "rounding: no window differs");
    let coarse = |energy| Detail { cell: 2, ..even(energy) };
    assert!(matches!(look_closely(&coarse(850.0), &coarse(1000.0)), Err(Doubt::LessSharp(_))));
    let paler = Detail { cells: vec![102; 256], ..even(850.0) };
    assert!(matches!(look_closely(&paler, &even(1000.0)), Err(Doubt::LessSharp(_))));
    assert!(look_closely(&even(0.0), &even(4.0)).is_ok(), "nothing to lose");
    assert!(look_closely(&even(104.0), &even(140.0)).is_ok(), "nothing that anybody sees");
    assert!(matches!(look_closely(&even(30.0), &even(69.0)), Err(Doubt::LessSharp(_))));
    let blurred = look_closely(&sharp(1000.0, 100.0), &even(1000.0));
    assert!(matches!(blurred, Err(Doubt::LessSharp(_))), "a face made unrecognisable");
    let other = Detail { width: 8, height: 32, ..even(95.0) };
    assert!(matches!(look_closely(&other, &even(95.0)), Err(Doubt::Closely(_))));
}

/// Two frames: in both there is noise everywhere, and in one a soft thing has moved.
#[test]
fn a_soft_thing_that_has_moved_stands_out_of_the_noise() {
    let noise = |i: usize| (i as u32).wrapping_mul(2_654_435_761) >> 30;
    let detail = |seed: usize, moved: u8| Detail {
        energy: 10.0,
        parts: Vec::new(),
        cell: 1,
        width: 128,
        height: 128,
        cells: (0..128 * 128)
            .map(|i| {
                let thing = (60..76).contains(&(i % 128)) && (60..76).contains(&(i / 128));
                100 + noise(i * 7 + seed) as u8 + if thing { moved } else { 0 }
            })
            .collect(),
    };
    assert!(look_closely(&detail(1, 0), &detail(99, 0)).is_ok());
    assert!(matches!(look_closely(&detail(1, 0), &detail(99, 4)), Err(Doubt::Closely(_))));
}
