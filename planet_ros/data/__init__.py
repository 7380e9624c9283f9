"""Experience: steps, episodes, their store on disk, and the sequences that models learn from."""

from planet_ros.data.episode import Episode, EpisodeBuilder, Step
from planet_ros.data.sampling import Replay, SequenceBatch, SequenceSampler
from planet_ros.data.signature import ActionPart, NamedNumber, ObservationPart, Parts, Signature
from planet_ros.data.statistics import Statistics
from planet_ros.data.store import EpisodeStore, load_episode, save_episode

__all__ = [
    "ActionPart",
    "Episode",
    "EpisodeBuilder",
    "EpisodeStore",
    "NamedNumber",
    "ObservationPart",
    "Parts",
    "Replay",
    "SequenceBatch",
    "SequenceSampler",
    "Signature",
    "Statistics",
    "Step",
    "load_episode",
    "save_episode",
]
