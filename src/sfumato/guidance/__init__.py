"""Guidance: Denoiser -> Denoiser."""

from sfumato.guidance.classifier_free import ClassifierFree
from sfumato.guidance.clip import Clip

__all__ = ["ClassifierFree", "Clip"]
