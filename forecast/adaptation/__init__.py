"""A model goes on learning from new scenes: small steps, replay, a gate, and a ledger of it all."""

from forecast.adaptation.adapter import Adapter
from forecast.adaptation.config import AdaptConfig
from forecast.adaptation.ledger import Entry

__all__ = ["AdaptConfig", "Adapter", "Entry"]
