"""The web side: Flask views over one Classifier. The only package that imports flask."""

from imagequeue.web.app import create_app
from imagequeue.web.classifier import Classifier

__all__ = ["Classifier", "create_app"]
