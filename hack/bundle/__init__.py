"""The bundle for the Operator Lifecycle Manager: python -m hack.bundle DEPLOY FOLDER"""
