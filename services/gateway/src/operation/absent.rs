//! Operations of Rekognition that are not here: all are answered with `UnknownOperationException`, and the message says
//! why. `AccessDeniedException` would send a client to look for a permission that nobody can give.

/// Operations that are to come.
const NOT_YET: [&str; 13] = [
    "CreateFaceLivenessSession",
    "CreateStreamProcessor",
    "DeleteStreamProcessor",
    "DescribeStreamProcessor",
    "GetFaceDetection",
    "GetFaceLivenessSessionResults",
    "GetFaceSearch",
    "ListStreamProcessors",
    "StartFaceDetection",
    "StartFaceSearch",
    "StartStreamProcessor",
    "StopStreamProcessor",
    "UpdateStreamProcessor",
];

/// Operations of Rekognition that have nothing to do with searching faces.
const DECLINED: [&str; 41] = [
    "CopyProjectVersion",
    "CreateDataset",
    "CreateProject",
    "CreateProjectVersion",
    "DeleteDataset",
    "DeleteProject",
    "DeleteProjectPolicy",
    "DeleteProjectVersion",
    "DescribeDataset",
    "DescribeProjectVersions",
    "DescribeProjects",
    "DetectCustomLabels",
    "DetectLabels",
    "DetectModerationLabels",
    "DetectProtectiveEquipment",
    "DetectText",
    "DistributeDatasetEntries",
    "GetCelebrityInfo",
    "GetCelebrityRecognition",
    "GetContentModeration",
    "GetLabelDetection",
    "GetMediaAnalysisJob",
    "GetPersonTracking",
    "GetSegmentDetection",
    "GetTextDetection",
    "ListDatasetEntries",
    "ListDatasetLabels",
    "ListMediaAnalysisJobs",
    "ListProjectPolicies",
    "PutProjectPolicy",
    "RecognizeCelebrities",
    "StartCelebrityRecognition",
    "StartContentModeration",
    "StartLabelDetection",
    "StartMediaAnalysisJob",
    "StartPersonTracking",
    "StartProjectVersion",
    "StartSegmentDetection",
    "StartTextDetection",
    "StopProjectVersion",
    "UpdateDatasetEntries",
];

/// Why there is no operation of that name; none where `X-Amz-Target` names no operation of Rekognition at all.
pub(super) fn why(name: Option<&str>) -> String {
    match name {
        Some(name) if NOT_YET.contains(&name) => format!("{name} is not available here yet."),
        Some(name) if DECLINED.contains(&name) => {
            format!("{name} is not offered: this service enrols and searches faces, nothing else.")
        }
        _ => "X-Amz-Target names no operation of this service.".to_owned(),
    }
}
