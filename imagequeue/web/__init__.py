"""The web side: Flask views over one Classifier. The only package that imports flask.

Empty, so that a process that only reads JSON or decodes images loads neither Flask nor the views.
"""
