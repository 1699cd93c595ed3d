use super::*;
use crate::limits::MAX_GROUP_LOSERS;
use crate::node::describe::tests::{Answers, Photo, honest, index_with, network};
use crate::picture::same::DECISION_VERSION;
use crate::protocol::DuplicateLoser;
use crate::replication::drop::Why;
use crate::store::index::Change;
use crate::types::{Epoch, FolderId, Seq};

const OWN: Decides = Decides { version: DECISION_VERSION, lease_s: 120, copies: 2 };

/// Two nodes; the first is the one that looks.
struct Pair {
    finder: Finder,
    other: PeerId,
    settings: LookSettings,
}

/// `mine` are the files of the node that looks, `theirs` those of the other.
fn pair(mine: Vec<Change>, theirs: Vec<Change>, keep: &[&str]) -> Pair {
    let [me, other] = [(); 2].map(|()| PeerId::random());
    let (index, their_index) = (index_with(me, mine), index_with(other, theirs));
    let page = their_index.catalog_page(Epoch(0), Seq(0)).unwrap();
    index.apply_peer_page(&other, FolderId(2), &page).unwrap();
    index.set_folder(FolderId(1));
    let answers: Answers = HashMap::from([(other, honest(their_index))]);
    let (net, _questions) = network(me, answers);
    let finder = Finder { net, index, ledger: None, memory: Arc::default() };
    let keep = Keep::new(keep.iter().copied()).unwrap();
    Pair { finder, other, settings: LookSettings { own: OWN, decides: HashMap::from([(other, OWN)]), keep } }
}

impl Pair {
    async fn look(&self) -> Findings {
        self.finder.look(&self.settings, Arc::default()).await.unwrap()
    }
}

fn photo(number: u16, width: u32) -> Photo {
    Photo { number, bits: usize::from(number), width }
}

/// Loser, keeper, why, files.
fn told(findings: &Findings) -> Vec<(ContentId, ContentId, Why, u64)> {
    let wishes = findings.wishes.iter();
    wishes.map(|wish| (wish.plan.subject, wish.plan.keeper, wish.plan.why, wish.files)).collect()
}

#[tokio::test]
async fn a_better_version_elsewhere_is_found_and_the_worse_one_here_is_wished_away() {
    let (small, large) = (photo(1, 320), photo(2, 640));
    let pair = pair(vec![small.at("small.jpg")], vec![large.at("large.jpg")], &[]);
    let findings = pair.look().await;
    assert_eq!(told(&findings), [(small.content(), large.content(), Why::Superseded, 1)]);
    let plan = &findings.wishes[0].plan;
    assert_eq!((plan.copies, plan.holders.clone()), (2, vec![pair.other]));
    let shown = &findings.shown;
    assert_eq!((shown.contents, shown.own_losers, shown.own_probable, shown.groups.len()), (2, 1, 0, 1));
    assert_eq!(shown.groups[0].keeper.content, large.content());
    assert!(shown.groups[0].losers[0].same);
    let again = pair.look().await;
    assert_eq!(again.wishes, findings.wishes, "a second look finds the same");
    assert_eq!(again.shown.groups, findings.shown.groups);
    let refused = Arc::new(Refused::from([(small.content(), large.content())]));
    let findings = pair.finder.look(&pair.settings, refused).await.unwrap();
    assert_eq!((findings.wishes.len(), findings.shown.own_probable), (0, 1));
    assert!(!pair.finder.memory.shown().unwrap().groups[0].losers[0].same);
}

#[tokio::test]
async fn the_worse_one_elsewhere_is_shown_and_is_the_others_to_drop() {
    let (small, large) = (photo(1, 320), photo(2, 640));
    let pair = pair(vec![large.at("large.jpg")], vec![small.at("small.jpg")], &[]);
    let findings = pair.look().await;
    assert!(findings.wishes.is_empty());
    assert_eq!((findings.shown.own_losers, findings.shown.groups.len()), (0, 1));
}

#[tokio::test]
async fn what_is_kept_or_pinned_is_never_wished_away() {
    let (small, large) = (photo(1, 320), photo(2, 640));
    let mine = || vec![small.at("a/small.jpg"), small.at("b/small.jpg")];
    let kept = pair(mine(), vec![large.at("large.jpg")], &["/b/*"]);
    assert_eq!(told(&kept.look().await), [(small.content(), small.content(), Why::Local, 1)]);
    let pinned = pair(mine(), vec![large.at("large.jpg")], &[]);
    pinned.finder.index.set_pinned(small.content(), true).unwrap();
    let findings = pinned.look().await;
    assert!(findings.wishes.is_empty(), "{findings:?}");
    assert!(findings.shown.groups[0].losers[0].reason.contains("pinned"));
}

#[tokio::test]
async fn equal_files_in_one_folder_go_but_for_one() {
    let one = photo(1, 320);
    let mine = vec![one.at("x/copy.jpg"), one.at("photo.jpg"), one.at("photo copy.jpg")];
    let pair = pair(mine, Vec::new(), &[]);
    let findings = pair.look().await;
    assert_eq!(told(&findings), [(one.content(), one.content(), Why::Local, 2)]);
    let group = &findings.shown.groups[0];
    assert_eq!(group.keeper.path.to_string(), "photo.jpg");
    let go: Vec<_> = group.losers.iter().map(|DuplicateLoser { row, .. }| row.path.to_string()).collect();
    assert_eq!(go, ["photo copy.jpg", "x/copy.jpg"]);
}

#[tokio::test]
async fn a_member_that_decides_differently_or_is_a_stranger_makes_no_wish() {
    let (small, large) = (photo(1, 320), photo(2, 640));
    let mut pair = pair(vec![small.at("small.jpg")], vec![large.at("large.jpg")], &[]);
    pair.settings.decides.clear();
    let findings = pair.look().await;
    assert_eq!((findings.wishes.len(), findings.shown.own_losers, findings.shown.own_short), (0, 1, 1));
    let (net, _questions) = network(pair.finder.net.me(), HashMap::new());
    pair.finder.net = net;
    assert!(pair.look().await.shown.groups.is_empty(), "away: what it holds does not count");
}

#[tokio::test]
async fn what_nobody_describes_is_counted() {
    let (small, large) = (photo(1, 320), photo(2, 640));
    let mut pair = pair(vec![small.at("small.jpg")], vec![large.at("large.jpg")], &[]);
    let silent = |_: &_| Err(super::super::network::AskError::Nonsense);
    let answers: Answers = HashMap::from([(pair.other, Box::new(silent) as Box<_>)]);
    pair.finder.net = network(pair.finder.net.me(), answers).0;
    let findings = pair.look().await;
    assert_eq!((findings.wishes.len(), findings.shown.not_described), (0, 1));
}

#[tokio::test]
async fn pages_have_all_groups_once_and_in_order() {
    // Far apart in their hashes, in pairs.
    let photos = |number: u16, width| Photo { number, bits: usize::from(number / 2 * 30 % 256), width };
    let mine: Vec<Change> =
        (0..16u16).map(|n| photos(n, 300 + u32::from(n)).at(&format!("{n}.jpg"))).collect();
    let pair = pair(mine, Vec::new(), &[]);
    let shown = pair.look().await.shown;
    assert_eq!(shown.groups.len(), 8);
    let many = Shown {
        groups: shown.groups.iter().cycle().take(50).cloned().collect(),
        contents: 0,
        left_out: 0,
        own_losers: 0,
        own_probable: 0,
        own_short: 0,
        not_compared: 0,
        not_described: 0,
        looked: Instant::now(),
    };
    let (mut from, mut all) = (0, Vec::new());
    loop {
        let page = page(Some(&many), from);
        assert!(
            page.groups.len() <= MAX_GROUPS && page.groups.iter().all(|g| g.losers.len() <= MAX_GROUP_LOSERS)
        );
        all.extend(page.groups);
        match page.next {
            Some(next) => from = next,
            None => break,
        }
    }
    assert_eq!(all, many.groups);
    assert_eq!(page(None, 0).looked_s, None);
    assert!(page(Some(&many), u32::MAX).groups.is_empty());
}
