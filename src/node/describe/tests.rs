use tokio::sync::{mpsc, watch};

use super::super::network::{Command, Live};
use super::*;
use crate::protocol::RefusalCode;
use crate::store::index::{Change, Fingerprint, Found};
use crate::transfer::outline::{Outline, OutlineBuilder};
use crate::types::{CaptureTime, Facts, Format, RelPath, Traits};

/// A picture of the tests: its bytes are its number.
#[derive(Debug, Clone, Copy)]
pub(in crate::node) struct Photo {
    pub(in crate::node) number: u16,
    /// Bits set in its hash.
    pub(in crate::node) bits: usize,
    pub(in crate::node) width: u32,
}

impl Photo {
    pub(in crate::node) fn outline(self) -> Outline {
        let mut builder = OutlineBuilder::new();
        builder.update(&self.number.to_be_bytes());
        builder.finish()
    }

    pub(in crate::node) fn content(self) -> ContentId {
        self.outline().content()
    }

    pub(in crate::node) fn facts(self) -> Facts {
        let mut hash = [0; 32];
        for bit in 0..self.bits {
            hash[bit / 8] |= 1 << (bit % 8);
        }
        Facts {
            image: ImageId::Hash(hash),
            bytes: 2,
            width: self.width,
            height: self.width,
            format: Format::Jpeg,
            taken_at: CaptureTime::new("2016-04-21T14:03:22"),
            guard: 80,
            traits: Traits::default(),
        }
    }

    /// A file at `path` with it.
    pub(in crate::node) fn at(self, path: &str) -> Change {
        Change::Seen {
            path: RelPath::from_bytes(path.as_bytes().to_vec()).unwrap(),
            fingerprint: Fingerprint { bytes: 2, mtime_ns: 1, ctime_ns: 1, inode: 1, device: 1 },
            found: Found::Picture {
                facts: self.facts(),
                encoding: Encoding { fidelity: Fidelity(900), metadata: Metadata(7) },
                outline: self.outline(),
                signature: Some(Signature::from_array([100; Signature::LEN])),
                problem: None,
            },
        }
    }
}

/// What a peer of the tests answers.
pub(in crate::node) type Answering =
    Box<dyn Fn(&PeerRequest) -> Result<Frame<PeerResponse>, AskError> + Send>;

pub(in crate::node) type Answers = HashMap<PeerId, Answering>;

/// A network in which the peers of `answers` are trusted and there. The receiver tells each
/// question.
pub(in crate::node) fn network(me: PeerId, answers: Answers) -> (Network, mpsc::Receiver<PeerId>) {
    let (commands, mut inbox) = mpsc::channel(64);
    let live: HashMap<PeerId, Standing> = answers.keys().map(|peer| (*peer, Standing::Trusted)).collect();
    let (sender, view) = watch::channel(Live::new(live));
    let (asked, questions) = mpsc::channel(1024);
    tokio::spawn(async move {
        // Kept as long as anybody asks.
        let _sender = sender;
        while let Some(command) = inbox.recv().await {
            let Command::Ask { peer, request, reply } = command else { continue };
            let _ = asked.try_send(peer);
            let answer = match answers.get(&peer) {
                Some(answer) => answer(&request.header),
                None => Err(AskError::Unreachable("nobody".to_owned())),
            };
            let _ = reply.send(match answer {
                Ok(Frame { header: PeerResponse::Refused(refusal), .. }) => Err(AskError::Refused(refusal)),
                answer => answer,
            });
        }
    });
    (Network::new(me, commands, view), questions)
}

/// A peer that answers truly from its index.
pub(in crate::node) fn honest(index: Arc<Index>) -> Answering {
    Box::new(move |request| match request {
        PeerRequest::Describe { contents } => describe(&index, None, contents).map_err(AskError::Refused),
        _ => Err(AskError::Nonsense),
    })
}

pub(in crate::node) fn index_with(me: PeerId, changes: Vec<Change>) -> Arc<Index> {
    let index = Index::in_memory(me).unwrap();
    index.apply(changes).unwrap();
    Arc::new(index)
}

fn photo(number: u16) -> Photo {
    Photo { number, bits: usize::from(number), width: 640 }
}

fn want(number: u16, holders: &[PeerId]) -> Wanted {
    let photo = photo(number);
    Wanted { content: photo.content(), image: photo.facts().image, holders: holders.to_vec() }
}

#[test]
fn what_is_told_comes_out_as_it_was() {
    let index = index_with(PeerId::random(), vec![photo(1).at("a"), photo(2).at("b")]);
    index.set_pinned(photo(2).content(), true).unwrap();
    let ledger = Ledger::in_memory().unwrap();
    ledger.record_edits(&[(photo(1).content(), photo(9).content())]).unwrap();
    let asked = [photo(2), photo(1), photo(3), photo(2)].map(Photo::content);
    let answer = describe(&index, Some(&ledger), &asked).unwrap();
    assert_eq!(answer.payload.len(), 2 * Signature::LEN);
    let told = read(&asked, answer).unwrap();
    assert_eq!(told.len(), 2, "what is not here is left out, and each is told once");
    for member in told {
        let record = index.content(&member.known.content).unwrap().unwrap();
        assert_eq!(member, own_member(&index, Some(&ledger), member.known.content, &record).unwrap());
        assert_eq!(member.pinned, member.known.content == photo(2).content());
        assert_eq!(member.known.edits.contents.is_empty(), member.pinned);
    }
}

#[test]
fn an_answer_to_another_question_makes_no_sense() {
    let index = index_with(PeerId::random(), vec![photo(1).at("a"), photo(2).at("b")]);
    let asked = [photo(1), photo(2)].map(Photo::content);
    let good = || describe(&index, None, &asked).unwrap();
    assert!(read(&asked, good()).is_ok());
    assert!(read(&asked[..1], good()).is_err(), "more than was asked for");
    let whole = good().payload.len();
    for length in [whole - 1, whole + 1, whole + Signature::LEN, whole - Signature::LEN, 0] {
        let mut frame = good();
        frame.payload.resize(length, 0);
        assert!(read(&asked, frame).is_err(), "{length} bytes");
    }
    let mut twice = good();
    if let PeerResponse::Described(descriptions) = &mut twice.header {
        descriptions[1] = descriptions[0].clone();
    }
    assert!(read(&asked, twice).is_err(), "one content twice");
    assert!(read(&asked, PeerResponse::Members(Vec::new()).into()).is_err());
}

#[tokio::test]
async fn a_holder_that_fails_is_replaced_and_asked_for_nothing_more() {
    let [me, good, liar, frozen, ignorant] = [(); 5].map(|()| PeerId::random());
    let all: Vec<u16> = (0..200).collect();
    let index = index_with(good, all.iter().map(|n| photo(*n).at(&format!("{n}"))).collect());
    let empty = index_with(ignorant, Vec::new());
    let mut answers: Answers = HashMap::new();
    answers.insert(good, honest(Arc::clone(&index)));
    answers.insert(ignorant, honest(empty));
    answers.insert(liar, Box::new(|_| Ok(Frame::new(PeerResponse::Described(Vec::new()), vec![1]))));
    answers.insert(
        frozen,
        Box::new(|_| {
            let refusal = Refusal::new(RefusalCode::Forbidden, "no");
            Ok(PeerResponse::Refused(refusal).into())
        }),
    );
    let (net, mut questions) = network(me, answers);
    let known = Descriptions::default();
    let order = [liar, ignorant, frozen, good];
    let wanted: Vec<Wanted> = all.iter().map(|n| want(*n, &order)).collect();
    let found = ask(&net, &known, wanted.clone()).await;
    assert_eq!(found.len(), all.len());
    let mut asked: HashMap<PeerId, usize> = HashMap::new();
    while let Ok(peer) = questions.try_recv() {
        *asked.entry(peer).or_default() += 1;
    }
    assert_eq!((asked[&good], asked[&ignorant]), (4, 4), "64 at a time");
    assert!(asked[&liar] <= 4 && asked[&frozen] <= 4, "{asked:?}");
    // The second time nobody is asked.
    assert_eq!(ask(&net, &known, wanted).await, found);
    assert!(questions.try_recv().is_err());
}

#[tokio::test]
async fn a_description_of_another_picture_is_not_taken() {
    let [me, liar] = [(); 2].map(|()| PeerId::random());
    let content = photo(1).content();
    let lie = move |_: &PeerRequest| {
        let facts = Facts { image: ImageId::Hash([9; 32]), ..photo(1).facts() };
        let told = Description {
            content,
            facts,
            fidelity: 1,
            metadata: 0,
            signature: false,
            pinned: false,
            edits: Vec::new(),
            edited_often: false,
            witnesses: 0,
        };
        Ok(PeerResponse::Described(vec![told]).into())
    };
    let answers: Answers = HashMap::from([(liar, Box::new(lie) as Box<_>)]);
    let (net, _questions) = network(me, answers);
    let found = ask(&net, &Descriptions::default(), vec![want(1, &[liar]), want(2, &[])]).await;
    assert!(found.is_empty());
}
