"""The web side: Flask views over one Classifier. The only package that imports flask."""

from imagequeue.web.access import Access
from imagequeue.web.app import create_app
from imagequeue.web.classifier import Classifier
from imagequeue.web.keys import ApiKeys
from imagequeue.web.ratelimit import RateLimit
from imagequeue.web.server import SharedFlag, WebServer
from imagequeue.web.shareddirectory import shared_directory

__all__ = ["Access", "ApiKeys", "Classifier", "RateLimit", "SharedFlag", "WebServer", "create_app", "shared_directory"]
