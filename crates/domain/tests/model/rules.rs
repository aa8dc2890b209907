//! The rules that a run may break, one at a time, to show that the auditor would see it.

/// A rule that the processes keep. A run breaks at most one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A point is written only over an older version of it.
    VersionCondition,
    /// An erased face stays for a day as a point.
    ErasedPointsStay,
    /// Indexing reads again when an hour has passed since its read.
    IndexingFreshness,
    /// Indexing commits only what a flush has covered.
    FlushBeforeCommit,
    /// Indexing starts again at its commit after a lost connection.
    RestartAtCommit,
    /// After a power loss searches wait until the log is projected.
    SearchesWait,
    /// What has expired is not searched.
    SearchesHideExpired,
    /// What is older than the retention rule is not searched.
    SearchesHideAged,
    /// What is older than the retention rule counts as erased when a photo is enrolled.
    TransitionsEraseAged,
    /// A lengthened rule keeps the old cutoff as a floor.
    FloorsStay,
    /// The floor covers the time for which the old rule may still be believed.
    OldRulesAreBelieved,
    /// A rule is answered only when nobody believes the old one any more.
    RulesAnswerLater,
    /// The sweep acts by the rule as it is then.
    SweepReadsRetention,
    /// A photo goes when its own time has come.
    PhotosHaveTheirTime,
    /// A request that is remembered does not enrol again (rule 4).
    RequestMemory,
    /// An attempt is given up an hour after it began.
    AttemptDeadline,
    /// A retry that finds its enrolment appends the change again (rule 3).
    EnrolmentAppendsAgain,
    /// A retry that finds its deletion has it projected again (rule 3).
    DeletionProjectsAgain,
    /// A deletion is acknowledged only when it is projected.
    DeletionProjects,
    /// A deletion appends the change.
    DeletionAppends,
    /// A change carries the versions of the faces, for when the record is gone.
    ChangesCarryVersions,
    /// A record is written over what was read.
    CompareAndSwap,
    /// Where the store says that somebody else was faster, the writer looks whether it was itself (rule 5).
    ConflictIsLookedAt,
    /// A writer of a record that finds an hour passed since its read reads again (rule 9).
    RecordFreshness,
    /// A photo is put again where its record is not written within an hour (rule 7).
    PhotoFreshness,
    /// A photo's key is never used again (rule 7).
    PhotoKeysUnique,
    /// A deletion removes only the photo that the record named (rule 7).
    OnlyNamedPhotosGo,
    /// A husk stays where its image id could be derived again (rule 6).
    DerivableHusksStay,
    /// Other husks stay for a day (rule 6).
    HusksStayADay,
    /// Reconciling appends what differs.
    Reconciling,
    /// Reconciling takes faces out that have expired.
    Retention,
    /// Photos that no record names are removed after a day.
    PhotosAreSwept,
    /// Taking a claim out writes the record even where it has none.
    UnclaimingWrites,
    /// Claims are taken out of expired faces too: others may not know yet that they have expired.
    UnclaimingSparesNoExpired,
    /// Records are read before their faces are reserved, and claimed over what was read.
    RecordsReadBeforeReserving,
    /// A reservation writes the user even where the faces are there already.
    ReservingWrites,
    /// Faces are dropped from a user only over the state that was read before their claims were taken out.
    DroppedOverRead,
    /// A deleted user names its faces until no point shows it.
    HusksNameFaces,
    /// Faces leave only when that is projected.
    ReleaseProjects,
    /// A user is created again only when all faces of the life before have left.
    CreationEndsDeletion,
    /// A claim of an earlier life is not that of a later one.
    GenerationsGrow,
    /// A face that a user holds is not erased.
    HeldFacesStay,
    /// The sweep leaves photos alone for a day: their record may be on its way.
    YoungPhotosStay,
    /// A retry that finds its photo accepted appends it again (rule 3).
    AcceptanceAppendsAgain,
    /// A request is remembered for as long as its photo waits, and for a day from then on (rule 4).
    WaitingRequestsStay,
    /// A job is begun again only within the day for which it is remembered.
    JobsAreBegunAgainInTime,
    /// A worker commits a photo only when its record is written and the change appended.
    EmbeddingCommitsLast,
    /// A worker that finds a photo embedded appends its change again (rule 3).
    EmbeddingAppendsAgain,
    /// Reconciling appends photos again that have waited for long.
    OldPhotosAreSaid,
    /// Nothing is said of a move before everybody writes to both placements.
    MovesWaitBeforeWalk,
    /// Reads switch only when the target is what the records say.
    MovesCompare,
    /// What was read is written to for as long as somebody may read it, and cleared only then.
    MovesDropLater,
    /// Whoever projects goes by placements that are a lease old at most.
    PlacementsAreLeased,
    /// A search looks once more where it should have looked.
    SearchesLookAgain,
    /// What was left is cleared until nothing can come there.
    LeftIsCleared,
    /// What was cleared is remembered only when it is durable.
    ClearingIsFlushed,
    /// What was left is not entered before that.
    LeftIsNotEntered,
    /// An enrolment is answered only when its record has templates of every model that is wanted.
    EnrolmentsAreCompleted,
    /// Reads switch only when every face has a template of the target's model.
    MovesCompareModels,
    /// What is written into a placement is of the model that it holds.
    ModelsGoWithPlacements,
    /// An accepted photo's record names it, so that nobody sweeps it.
    AcceptedPhotosAreNamed,
    /// Indexing vouches for the index only for a while after it has answered.
    VouchingNeedsAnswers,
    /// Indexing does not vouch for an index of which it has lost a connection that it has not acted upon.
    LossesAreNotVouchedFor,
    /// What indexing said is good for a second.
    WordsWearOut,
    /// What was asked for long ago says nothing: whoever asked stood still meanwhile.
    LateWordsAreDropped,
    /// Query believes nobody for a while after it has lost a connection to the index.
    QueryDistrusts,
    /// After that it believes only what it is told from then on.
    WordsAreHeardAnew,
    /// Query asks nobody for as long when it starts.
    QueryBeginsByWaiting,
    /// A search looks whether it may be believed when it has its answer, too.
    SearchesCheckAfter,
}
