"""The web side: Flask views over one Classifier. The only package that imports flask."""

from imagequeue.web.app import create_app
from imagequeue.web.classifier import Classifier
from imagequeue.web.server import SharedFlag, WebServer

__all__ = ["Classifier", "SharedFlag", "WebServer", "create_app"]
