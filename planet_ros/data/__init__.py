"""Experience: steps, episodes, their store on disk, and the sequences that models learn from."""

from planet_ros.data.episode import Episode, EpisodeBuilder, Step
from planet_ros.data.sampling import SequenceBatch, SequenceSampler
from planet_ros.data.signature import ActionPart, NamedNumber, ObservationPart, Parts, Signature
from planet_ros.data.store import EpisodeStore, load_episode, save_episode

__all__ = [
    "ActionPart",
    "Episode",
    "EpisodeBuilder",
    "EpisodeStore",
    "NamedNumber",
    "ObservationPart",
    "Parts",
    "SequenceBatch",
    "SequenceSampler",
    "Signature",
    "Step",
    "load_episode",
    "save_episode",
]
